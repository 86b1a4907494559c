"""Options of quantisation: bits, granularity, scales and rounding."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TypedDict

from qbnnc.ir.graph import Node
from qbnnc.support.errors import UserError

DRAWN_BITS = 8  # of noise on activations, and of constants to choose from
_INPUT_BITS = 8  # of the input: few bits there cost most, and save least
_RESIDUAL_BITS = 7  # of residual sums, their terms and joined values at least
_UNWEIGHTED_BITS = 8  # of values that no weight multiplies: they cost nothing
_FITTED_BITS = 6  # up to so many bits of weights or their inputs, fitting beats nearest codes
_OUTER_BITS = 8  # of the first and last hidden layer
_NOISY_BITS = 6  # up to so many bits of activations, rounding hides how samples differ
_AFFINE_BITS = 3  # up to so many bits of constant weights, a code more is worth a zero point


@dataclass(frozen=True, slots=True)
class Bits:
    """Widths of weights and activations, 2..8 each."""

    weights: int = 8
    activations: int = 7

    @staticmethod
    def parse(text: str) -> Bits:
        """ "w8a7" -> Bits(8, 7); UserError for anything else.

        >>> Bits.parse("w4a6")
        Bits(weights=4, activations=6)
        """
        match = re.fullmatch(r"w([2-8])a([2-8])", str(text).strip().lower())
        if match is None:
            raise UserError(
                "write wNaM, the widths of weights and activations, each from 2 to 8, such as w8a7",
                place=f"`bits` {text}",
            )
        return Bits(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"w{self.weights}a{self.activations}"


class WeightScheme(Enum):
    """Granularity and symmetry of weight codes (docs/semantics.md, section 1)."""

    CHANNEL_SYMMETRIC = "channel-symmetric"
    CHANNEL_AFFINE = "channel-affine"
    TENSOR_SYMMETRIC = "tensor-symmetric"
    TENSOR_AFFINE = "tensor-affine"  # the paper's

    @property
    def per_channel(self) -> bool:
        return self.value.startswith("channel")

    @property
    def symmetric(self) -> bool:
        return self.value.endswith("symmetric")


class Scales(Enum):
    """The numbers that a scale may be."""

    FREE = "free"
    POW2 = "pow2"  # powers of two: requantisation is a shift


class MaskSharing(Enum):
    """The rows whose dropout masks are the same within a sample."""

    ROW = "row"  # every row has its own
    BATCH = "batch"  # all rows share one


class Rounding(Enum):
    """The aim of rounding a weight to codes."""

    NEAREST = "nearest"  # close to the weight itself
    FITTED = "fitted"  # close outputs on the calibration data: least squares, then GPTQ


@dataclass(frozen=True, slots=True)
class Quantisation:
    """The options of quantisation. `layers` maps a layer (its module path) to bits of its own.

    `weights` None depends on a layer's bits (`scheme_of`). A layer's bits are the bits of its
    weight and of the codes it gives. `outputs` quantises the outputs of the graph, as the paper
    does. `input_bits` None means 8. `outer_bits` are the bits of what the first and last
    hidden layer give; None means 8 where activations have 6 or less (`passes.ranges.outer_bits`).
    `residual_bits` are the bits of residual sums, what they add and what is concatenated, unless
    their layer has bits of its own; None means those of activations, and at least 7. They are also
    those of values that no weight multiplies before a norm or a product of matrices; None means 8.
    `rounding` and `bias_correction` None depend on a layer's bits. `equalise` brings channels that
    share a scale to similar ranges first.
    """

    bits: Bits = field(default_factory=Bits)
    weights: WeightScheme | None = None
    scales: Scales = Scales.FREE
    outputs: bool = False
    mask_sharing: MaskSharing = MaskSharing.ROW
    layers: Mapping[str, Bits] = field(default_factory=dict)
    input_bits: int | None = None
    rounding: Rounding | None = None
    bias_correction: bool | None = None
    outer_bits: int | None = None
    equalise: bool = True
    residual_bits: int | None = None

    @property
    def input_width(self) -> int:
        """Bits of the network's input."""
        return self.input_bits or _INPUT_BITS

    @property
    def outer_width(self) -> int:
        """Bits of the activations of the first and last hidden layer.

        8 bits beside weights of 8 would need the slow form of a product on CPUs without VNNI.
        """
        if self.outer_bits is not None:
            return self.outer_bits
        few = self.bits.activations <= _NOISY_BITS
        return min(_OUTER_BITS, 15 - self.bits.weights) if few else self.bits.activations

    def bits_of(self, node: Node | None) -> Bits:
        """The bits of a layer, by its module path or else its name; None is the network's input."""
        if node is None:
            return replace(self.bits, activations=self.input_width)
        return self.layers.get(node.loc.module, self.layers.get(node.output.name, self.bits))

    @property
    def residual_width(self) -> int:
        """Bits of residual sums, of what they add and of what is concatenated."""
        return self.residual_bits or max(self.bits.activations, _RESIDUAL_BITS)

    def codes_of(self, node: Node | None, *, residual: bool, unweighted: bool = False) -> int:
        """The bits of the codes that a node gives, which may be those of a residual sum's term.

        `unweighted` codes are those that no weight multiplies (`ranges.unweighted_values`).
        """
        if node is not None and unweighted and not self.has_own_bits(node):
            return self.residual_bits or _UNWEIGHTED_BITS
        if node is not None and residual and not self.has_own_bits(node):
            return self.residual_width
        return self.bits_of(node).activations

    def has_own_bits(self, node: Node) -> bool:
        """Whether `layers` names this layer."""
        return node.loc.module in self.layers or node.output.name in self.layers

    @property
    def equalises(self) -> bool:
        """Whether channels are equalised, which needs scales of their own for their weights."""
        return self.equalise and (self.weights is None or self.weights.per_channel)

    def scheme_of(self, bits: int, *, sampled: bool) -> WeightScheme:
        """The scheme of a weight of so many bits.

        By default it has a scale a channel. A weight of 3 bits or less that is not `sampled` is
        affine: its zero points are folded into the codes, and cost nothing at run time.
        """
        if self.weights is not None:
            return self.weights
        affine = bits <= _AFFINE_BITS and not sampled
        return WeightScheme.CHANNEL_AFFINE if affine else WeightScheme.CHANNEL_SYMMETRIC

    def rounding_of(self, bits: Bits) -> Rounding:
        """The rounding of a layer with such weights that reads such activations.

        By default it is nearest where biases are not to be corrected: fitted weights need biases of
        their own.
        """
        if self.rounding is not None:
            return self.rounding
        fitted = _few(bits) and self.bias_correction is not False
        return Rounding.FITTED if fitted else Rounding.NEAREST

    def corrects_bias(self, bits: Bits, *, sampled: bool) -> bool:
        """Whether the bias of a layer with such weights that reads such activations is corrected.

        By default a bias beside `sampled` weights is not: their fitted means leave it right.
        """
        if self.bias_correction is not None:
            return self.bias_correction
        return not sampled and (_few(bits) or self.rounding is Rounding.FITTED)

    def __str__(self) -> str:
        parts = [str(self.bits)]
        parts += [f"input=a{self.input_width}"] * (self.input_width != self.bits.activations)
        parts += [f"residual=a{self.residual_bits}"] * (self.residual_bits is not None)
        parts += [f"{layer}={bits}" for layer, bits in self.layers.items()]
        return ",".join(parts)

    def scheme(self) -> str:
        """Text for the provenance: "channel-symmetric", and any option that is not the default."""
        widths = (self.bits, *self.layers.values())
        schemes = {self.scheme_of(bits.weights, sampled=False).value for bits in widths}
        parts = [" and ".join(sorted(schemes, reverse=True))]
        parts += ["pow2 scales"] * (self.scales is Scales.POW2)
        parts += ["quantised outputs"] * self.outputs
        parts += ["shared masks"] * (self.mask_sharing is MaskSharing.BATCH)
        per_channel = self.weights is None or self.weights.per_channel
        parts += ["channels as they are"] * (per_channel and not self.equalise)
        fitted = any(self.rounding_of(bits) is Rounding.FITTED for bits in widths)
        parts += ["fitted rounding"] * fitted
        parts += ["bias correction"] * any(self.corrects_bias(b, sampled=False) for b in widths)
        return ", ".join(parts)


def _few(bits: Bits) -> bool:
    return min(bits.weights, bits.activations) <= _FITTED_BITS


class CompileOptions(TypedDict, total=False):
    """Keyword arguments of everything that quantises; None is the default.

    `bits` "w8a7" are weights and activations, 2..8 each. `layers` gives layers bits of their own,
    `input_bits` the network's input, `outer_bits` the first and last hidden layer, and
    `residual_bits` residual sums, what they add, what is concatenated, and what only sums and norms
    read. `weights`, `scales` and
    `mask_sharing` take the values of the enums above; `quantise_output` quantises outputs.
    `observer` ("minmax", "ema", "mse"), `rounding` ("nearest", "fitted") and `bias_correction`
    depend on the bits unless they are given (docs/semantics.md, "How ranges and codes are chosen").
    `equalise` brings channels that share a scale to similar ranges. Ranges are observed over
    `calibration_passes` samples at `calibration_seed`; "mse" sees rows too that are `stretch` times
    (1.5) as far from the mean.
    """

    bits: str | None
    weights: str | None
    scales: str | None
    input_bits: int | None
    outer_bits: int | None
    residual_bits: int | None
    quantise_output: bool | None
    mask_sharing: str | None
    layers: Mapping[str, str] | None
    observer: str | None
    rounding: str | None
    bias_correction: bool | None
    calibration_passes: int | None
    calibration_seed: int | None
    equalise: bool | None
    stretch: float | None
