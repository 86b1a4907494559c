"""Traits of a network, as macros: functions of the library leave out what no layer of it needs."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from enum import Enum


class Trait(Enum):
    """A case of the library's functions, by its macro, which is 0 where no layer has the case."""

    WEIGHT_ZEROS = "QB_WEIGHT_ZEROS"  # a constant weight has zero points
    OUTSIDE = "QB_OUTSIDE"  # a window has places outside of the image
    GROUPS = "QB_GROUPS"  # a convolution has more than one group
    UNPOOLED = "QB_UNPOOLED"  # a layer takes no maxima
    SUMS = "QB_SUMS_LEAVE"  # accumulators leave a layer as they are
    TABLES = "QB_TABLES"  # a masked convolution has a table of parts
    RECOMPUTED = "QB_RECOMPUTED"  # a masked convolution computes its parts for each sample


def definitions(traits: AbstractSet[Trait]) -> str:
    """Define the macro of every trait."""
    return "\n".join(f"#define {trait.value} {int(trait in traits)}" for trait in Trait)
