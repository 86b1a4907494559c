"""One chunk of rows: its samples, and what is kept of them, in arrays that begin with the rows."""

from __future__ import annotations

import hashlib
import math
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.head import Head, Task
from qbnnc.loading.artefacts import Artefact, artefact_of
from qbnnc.support.errors import UserError
from qbnnc.version import __version__

Float32 = NDArray[np.float32]
Arrays = dict[str, Float32]

_CACHED = 1 << 19  # bytes of samples whose statistics are computed at a time: they stay in a cache


@dataclass(frozen=True, slots=True)
class Request:
    """What is computed of each row; `batch_size` changes no bit."""

    samples: int | None
    seed: int
    statistics_only: bool
    quantiles: tuple[float, ...]
    batch_size: int | None = None


@dataclass(frozen=True, slots=True)
class Field:
    """An array of the output: [rows, *shape]. Samples are [L, rows, *shape], and L is `samples`."""

    name: str
    shape: tuple[int, ...]
    samples: int | None = None

    @property
    def row_shape(self) -> tuple[int, ...]:
        """The shape of what one row has."""
        return self.shape if self.samples is None else (self.samples, *self.shape)

    def shape_of(self, rows: int) -> tuple[int, ...]:
        """The shape of the whole array."""
        leading = (rows,) if self.samples is None else (self.samples, rows)
        return (*leading, *self.shape)


@dataclass(frozen=True, slots=True)
class Work:
    """What a worker needs: the bytes of an artefact, and what is computed.

    `numerics` are those of the process that writes the output.
    """

    data: bytes
    name: str
    request: Request
    numerics: str
    version: str = __version__


@dataclass(frozen=True, slots=True)
class Computed:
    """The arrays of a chunk; or its samples, where a worker rounds otherwise than the writer."""

    arrays: Arrays
    unreduced: bool = False


@dataclass(frozen=True, slots=True)
class Computer:
    """Computes chunks with an artefact."""

    artefact: Artefact
    request: Request

    @staticmethod
    def of(work: Work, threads: int | None = 1) -> Computer:
        """Open the artefact; UserError where it is no version of qbnnc that can."""
        if work.version != __version__:
            raise UserError(
                f"a worker has qbnnc {__version__}, and this is {work.version}",
                remedy="install the same everywhere",
            )
        return Computer(artefact_of(work.data, work.name, threads), work.request)

    def fields(self) -> tuple[Field, ...]:
        """The arrays of the output, in their order; UserError if the artefact cannot give them."""
        empty = np.empty((0, *self.artefact.input_shape), np.float32)
        samples = self._samples(empty, 0)
        made = self.reduced(samples)
        kept = [Field(n, a.shape[2:], len(a)) for n, a in samples.items() if n in made]
        return (*kept, *(Field(n, a.shape[1:]) for n, a in made.items() if n not in samples))

    def sample_bytes(self) -> int:
        """The bytes of one row's samples."""
        empty = np.empty((0, *self.artefact.input_shape), np.float32)
        made = self._samples(empty, 0).values()
        return 4 * sum(len(a) * math.prod(a.shape[2:]) for a in made)

    def sample_count(self) -> int:
        """L."""
        empty = np.empty((0, *self.artefact.input_shape), np.float32)
        return len(next(iter(self._samples(empty, 0).values())))

    def compute(self, rows: Float32, first_row: int) -> Arrays:
        """The arrays [n, *row_shape] of rows [n, *shape], the first of which has this number."""
        return self.reduced(self._samples(rows, first_row))

    def compute_for(self, work: Work, rows: Float32, first_row: int) -> Computed:
        """As `compute`; the samples [L, n, ...] alone where statistics would have other bits."""
        samples = self._samples(rows, first_row)
        if work.numerics != numerics():
            return Computed(samples, unreduced=True)
        return Computed(self.reduced(samples))

    def finished(self, computed: Computed) -> Arrays:
        """The arrays of a chunk that a worker has computed."""
        return self.reduced(computed.arrays) if computed.unreduced else computed.arrays

    def reduced(self, samples: Mapping[str, Float32]) -> Arrays:
        """Samples, statistics and quantiles of samples [L, n, ...], the rows first."""
        parts = list(samples.values())
        rows = parts[0].shape[1]
        row_bytes = max(1, sum(part[:, :1].nbytes for part in parts))
        step = max(1, _CACHED // row_bytes)
        made = Arrays()
        for start in range(0, max(rows, 1), step):
            block = [part[:, start : start + step] for part in parts]
            for name, array in self._statistics(tuple(samples), block).items():
                if name not in made:
                    made[name] = np.empty((rows, *array.shape[1:]), np.float32)
                made[name][start : start + step] = array
        if self.request.statistics_only:
            return made
        kept = {n: np.ascontiguousarray(np.moveaxis(a, 0, 1)) for n, a in samples.items()}
        return kept | made

    def _samples(self, rows: Float32, first_row: int) -> Arrays:
        asked = self.request
        made = self.artefact.predict(rows, asked.samples, asked.seed, first_row, asked.batch_size)
        return {name: made[name] for name in made if name.startswith("samples")}

    def _statistics(self, names: tuple[str, ...], samples: list[Float32]) -> Arrays:
        """Those of `qbnnc.ir.head`, whichever runtime made the samples; and the quantiles."""
        made = self.artefact.head.evaluate(tuple(samples))
        for name, array in zip(names, samples, strict=True):
            made |= quantiles_of(array, self.request.quantiles, name.removeprefix("samples"))
        return made


def quantiles_of(samples: Float32, quantiles: tuple[float, ...], suffix: str = "") -> Arrays:
    """Quantiles [n, *shape] over the samples [L, n, *shape], by names such as "q0.05".

    They are numpy's "linear" ones: between the order statistics k and k + 1, where k is the whole
    part of q (L - 1). They are computed in float64.
    """
    if not quantiles:
        return {}
    if not samples.size:
        found = np.empty((len(quantiles), *samples.shape[1:]))
    else:
        found = np.quantile(samples.astype(np.float64), quantiles, axis=0, method="linear")
    return {
        f"q{q:g}{suffix}": each.astype(np.float32) for q, each in zip(quantiles, found, strict=True)
    }


@cache
def numerics() -> str:
    """A digest of how this process rounds statistics: equal ones have equal bits.

    Samples are integers behind a scale, and equal everywhere. Statistics take exp and log, which
    numpy and the system's library round as they do.
    """
    logits = np.random.Generator(np.random.PCG64(0)).normal(0, 3, (20, 400, 7)).astype(np.float32)
    digest = hashlib.sha256(f"{np.__version__} {platform.machine()}".encode())
    for head in (Head(Task.CLASSIFICATION), Head(Task.REGRESSION), Head(Task.RAW)):
        outputs = (logits, logits) if head.task is Task.REGRESSION else (logits,)
        for array in head.evaluate(outputs).values():
            digest.update(array.tobytes())
    return digest.hexdigest()[:16]
