"""What a user chooses about the integers."""

from __future__ import annotations

import re
from dataclasses import dataclass
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
        match = re.fullmatch(r"w([2-8])a([2-8])", text.strip().lower())
        if match is None:
            raise UserError(
                f"bits {text!r}: write wNaM, the widths of weights and activations, each from 2 "
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
