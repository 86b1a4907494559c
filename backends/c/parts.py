"""Parts of the library: files of C functions, and which of them a network needs."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from enum import Enum
from importlib.resources import files


class Part(Enum):
    """A file of `library/`, in the order in which they follow each other."""

    BASE = "base"
    RANDOM = "random"
    NOISE = "noise"
    PRODUCTS = "products"
    COLUMNS = "columns"
    CONVOLUTIONS = "convolutions"
    DEPTHWISE = "depthwise"
    MASKED = "masked"
    CHOICE = "choice"
    EMBEDDING = "embedding"
    SAMPLED = "sampled"
    FILTERS = "filters"
    SAMPLED_FILTERS = "sampled_filters"
    DROPPED = "dropped"
    ELEMENTWISE = "elementwise"
    STATES = "states"
    MATRICES = "matrices"
    NORMALIZE = "normalize"
    BIASES = "biases"
    POOLING = "pooling"
    UNPOOLING = "unpooling"
    SOFTMAX = "softmax"
    STATISTICS = "statistics"


_ON_DEMAND = {
    Part.NOISE,
    Part.CHOICE,
    Part.EMBEDDING,
    Part.SAMPLED,
    Part.FILTERS,
    Part.SAMPLED_FILTERS,
    Part.DROPPED,
    Part.STATES,
    Part.MATRICES,
    Part.NORMALIZE,
    Part.BIASES,
    Part.UNPOOLING,
    Part.SOFTMAX,
}
_NEEDS = {
    Part.SAMPLED: {Part.FILTERS, Part.SAMPLED_FILTERS},
    Part.DROPPED: {Part.FILTERS},
}


def library(wanted: AbstractSet[Part]) -> str:
    """Return the functions that steps call: what every network has, and the parts `wanted`."""
    needed = set(wanted).union(*(_NEEDS.get(part, set()) for part in wanted))
    folder = files("qbnnc.backends.c") / "library"
    taken = [part for part in Part if part in needed or part not in _ON_DEMAND]
    return "\n".join((folder / f"{part.value}.h").read_text() for part in taken)
