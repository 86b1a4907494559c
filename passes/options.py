"""What a user chooses about the integers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from qbnnc.ir.errors import UserError


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
                f"--bits {text}: write wNaM, the widths of weights and activations, each from 2 "
                "to 8, such as w8a7"
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
    """Which numbers a scale may be."""

    FREE = "free"
    POW2 = "pow2"  # powers of two: requantisation is a shift


class MaskSharing(Enum):
    """Whose dropout masks are the same within a sample."""

    ROW = "row"  # every row has its own
    BATCH = "batch"  # all rows share one


@dataclass(frozen=True, slots=True)
class Quantisation:
    """All of it. `layers` maps a layer (its module path) to bits of its own.

    A layer's bits are those of its weight and of the codes it gives. `outputs` quantises what
    leaves the graph, as the paper does.
    """

    bits: Bits = field(default_factory=Bits)
    weights: WeightScheme = WeightScheme.CHANNEL_SYMMETRIC
    scales: Scales = Scales.FREE
    outputs: bool = False
    mask_sharing: MaskSharing = MaskSharing.ROW
    layers: Mapping[str, Bits] = field(default_factory=dict)

    def __str__(self) -> str:
        parts = [str(self.bits), *(f"{layer}={bits}" for layer, bits in self.layers.items())]
        return ",".join(parts)

    def scheme(self) -> str:
        """For the provenance: "channel-symmetric", and what else is not the default."""
        parts = [self.weights.value]
        parts += ["pow2 scales"] * (self.scales is Scales.POW2)
        parts += ["quantised outputs"] * self.outputs
        parts += ["shared masks"] * (self.mask_sharing is MaskSharing.BATCH)
        return ", ".join(parts)
