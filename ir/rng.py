"""Random numbers: integers only, counter based, the same everywhere (docs/semantics.md, section 5).

splitmix64 (Steele, Lea, Flood 2014). Any word can be computed alone: there is no state, no order.

    stream key  = mix(seed + GOLDEN*(stream+1))
    sample key  = mix(stream key + GOLDEN*(sample+1))
    word(w)     = mix(sample key + GOLDEN*(w+1))      four 16-bit lanes a word, lowest bits first
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.types import EPS_QUANT

UInt64 = NDArray[np.uint64]

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
LANES_PER_WORD = 4


def mix(z: UInt64) -> UInt64:
    """The output function of splitmix64, mod 2^64."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def derive(parent: UInt64, index: UInt64) -> UInt64:
    """mix(parent + GOLDEN*(index+1)): a key from a key, or a word from a key.

    >>> [int(w) for w in derive(np.uint64([1234567]), np.arange(2, dtype=np.uint64))]
    [6457827717110365317, 3203168211198807973]
    """
    return mix(parent + GOLDEN * (index + np.uint64(1)))


@dataclass(frozen=True, slots=True, eq=False)
class Draw:
    """The numbers that an evaluation draws by: seed, sample numbers [L], row numbers [B]."""

    seed: int
    samples: UInt64
    rows: UInt64

    @staticmethod
    def of(seed: int, samples: Iterable[int], rows: Iterable[int]) -> Draw:
        """Numbers are taken mod 2^64, as their two's complement."""
        return Draw(seed % 2**64, _unsigned(samples), _unsigned(rows))

    def lanes(self, stream: int, count: int, *, shared: bool) -> NDArray[np.uint16]:
        """`count` 16-bit lanes for each sample and row: [L, B, count] ([L, 1, count] if shared).

        Row b uses words b*ceil(count/4) and on; `shared` gives every row the lanes of row 0.
        """
        words = -(-count // LANES_PER_WORD)
        stream_key = derive(np.array([self.seed], np.uint64), np.array([stream], np.uint64))
        sample_keys = derive(stream_key, self.samples)
        rows = np.zeros(1, np.uint64) if shared else self.rows
        words_of_row: UInt64 = np.arange(words, dtype=np.uint64)
        index = rows[:, None] * np.uint64(words) + words_of_row
        drawn = derive(sample_keys[:, None, None], index)
        return drawn.astype("<u8").view("<u2")[..., :count].astype(np.uint16)


def _unsigned(numbers: Iterable[int]) -> UInt64:
    return np.array([n % 2**64 for n in numbers], np.uint64)


def keep_threshold(p: float) -> int:
    """Dropout keeps a lane iff lane >= rint(p * 65536)."""
    return int(np.rint(p * 65536))


@cache
def eps_table() -> NDArray[np.int8]:
    """Codes of N(0, 1) (EPS_QUANT) for each 16-bit lane: [65536], -127..127."""
    codes = np.rint(_quantiles() / EPS_QUANT.scale[0])
    return np.clip(codes, -127, 127).astype(np.int8)


@cache
def normal_table() -> NDArray[np.float32]:
    """N(0, 1) for each 16-bit lane: Phi^-1((u + .5)/65536), [65536]."""
    return _quantiles().astype(np.float32)


@cache
def uniform_table() -> NDArray[np.float32]:
    """A uniform number for each 16-bit lane: (u + .5)/65536, [65536]."""
    return ((np.arange(65536) + 0.5) / 65536).astype(np.float32)


@cache
def _quantiles() -> NDArray[np.float64]:
    normal = NormalDist()
    return np.array([normal.inv_cdf((u + 0.5) / 65536) for u in range(65536)])
