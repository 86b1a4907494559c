"""Options of quantisation: bits, granularity, scales and rounding."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TypedDict

from qbnnc.ir.graph import Node
from qbnnc.support.errors import UserError

_INPUT_BITS = 7  # an input has at least so many: few bits there cost most, and save least
_FITTED_BITS = 6  # up to so many bits of weights or their inputs, fitting beats nearest codes


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

    A layer's bits are the bits of its weight and of the codes it gives. `outputs` quantises the
    outputs of the graph, as the paper does. `input_bits` None means the bits of activations, and at
    least 7. `rounding` and `bias_correction` None depend on a layer's bits.
    """

    bits: Bits = field(default_factory=Bits)
    weights: WeightScheme = WeightScheme.CHANNEL_SYMMETRIC
    scales: Scales = Scales.FREE
    outputs: bool = False
    mask_sharing: MaskSharing = MaskSharing.ROW
    layers: Mapping[str, Bits] = field(default_factory=dict)
    input_bits: int | None = None
    rounding: Rounding | None = None
    bias_correction: bool | None = None

    @property
    def input_width(self) -> int:
        """Bits of the network's input."""
        return self.input_bits or max(self.bits.activations, _INPUT_BITS)

    def bits_of(self, node: Node | None) -> Bits:
        """The bits of a layer, by its module path or else its name; None is the network's input."""
        if node is None:
            return replace(self.bits, activations=self.input_width)
        return self.layers.get(node.loc.module, self.layers.get(node.output.name, self.bits))

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

        By default a bias beside `sampled` weights is not, as their rounding errors average out.
        """
        if self.bias_correction is not None:
            return self.bias_correction
        return not sampled and (_few(bits) or self.rounding is Rounding.FITTED)

    def __str__(self) -> str:
        parts = [str(self.bits)]
        parts += [f"input=a{self.input_width}"] * (self.input_width != self.bits.activations)
        parts += [f"{layer}={bits}" for layer, bits in self.layers.items()]
        return ",".join(parts)

    def scheme(self) -> str:
        """Text for the provenance: "channel-symmetric", and any option that is not the default."""
        parts = [self.weights.value]
        parts += ["pow2 scales"] * (self.scales is Scales.POW2)
        parts += ["quantised outputs"] * self.outputs
        parts += ["shared masks"] * (self.mask_sharing is MaskSharing.BATCH)
        widths = (self.bits, *self.layers.values())
        fitted = any(self.rounding_of(bits) is Rounding.FITTED for bits in widths)
        parts += ["fitted rounding"] * fitted
        parts += ["bias correction"] * any(self.corrects_bias(b, sampled=False) for b in widths)
        return ", ".join(parts)


def _few(bits: Bits) -> bool:
    return min(bits.weights, bits.activations) <= _FITTED_BITS


class CompileOptions(TypedDict, total=False):
    """Keyword arguments of everything that quantises; None is the default.

    `bits` "w8a7" are weights and activations, 2..8 each. `layers` gives layers bits of their own,
    and `input_bits` the network's input. `weights`, `scales` and `mask_sharing` take the values of
    the enums above; `quantise_output` quantises outputs. `observer` ("minmax", "ema", "mse"),
    `rounding` ("nearest", "fitted") and `bias_correction` depend on the bits unless they are given
    (docs/semantics.md, "How ranges and codes are chosen"). Ranges are observed over
    `calibration_passes` samples at `calibration_seed`.
    """

    bits: str | None
    weights: str | None
    scales: str | None
    input_bits: int | None
    quantise_output: bool | None
    mask_sharing: str | None
    layers: Mapping[str, str] | None
    observer: str | None
    rounding: str | None
    bias_correction: bool | None
    calibration_passes: int | None
    calibration_seed: int | None
