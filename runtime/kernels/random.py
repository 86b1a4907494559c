"""Random words from counters: docs/semantics.md, section 5."""

from __future__ import annotations

import numpy as np

from qbnnc.ir.rng import GOLDEN
from qbnnc.runtime.kernels.jit import kernel

_ONE = np.uint64(1)


@kernel
def mix(z):
    """The output function of splitmix64, on uint64."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@kernel
def derive(parent, index):
    """Return mix(parent + GOLDEN*(index+1))."""
    return mix(parent + GOLDEN * (index + _ONE))


@kernel
def draw_words(words, key, first):
    """words[i] = word number first + i of a sample's key. The counter is a running sum."""
    start = key + GOLDEN * (first + _ONE)
    for i in range(len(words)):
        words[i] = mix(start + GOLDEN * np.uint64(i))
