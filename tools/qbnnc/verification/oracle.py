"""Are artefacts what the oracle says, bit for bit? And if not, which node differs first?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.graph import Value
from qbnnc.ir.ids import rows_taken_by
from qbnnc.ir.model import Model
from qbnnc.ir.oracle import oracle_samples
from qbnnc.ir.types import Array
from qbnnc.loading.artefacts import Artefact
from qbnnc.support import limits
from qbnnc.support.errors import InputError, UserError
from qbnnc.support.inputs import MOST_ROWS_AT_ONCE, as_count, as_first_row
from qbnnc.support.several_inputs import Arrays

MEAN_TOLERANCE = 1e-6  # docs/semantics.md, section 4
VARIANCE_TOLERANCE = 1e-5


@dataclass(frozen=True, slots=True)
class Difference:
    """The first sample that differs: of which output, where, and the first node that does.

    The node is None if none differs when each is looked at.
    """

    output: str
    seed: int
    sample: int
    row: int
    expected: float
    found: float
    node: str | None


@dataclass(slots=True)
class Comparison:
    """One artefact against the oracle; counts grow as batches are compared."""

    name: str
    values: int = 0
    differing: int = 0
    statistics_off: int = 0
    first: Difference | None = field(default=None)

    @property
    def equal(self) -> bool:
        return self.differing == 0 and self.statistics_off == 0


@dataclass(frozen=True, slots=True)
class Drawing:
    """The random numbers that are compared, and how many rows at a time."""

    seeds: Sequence[int] = (0,)
    samples: int | None = None
    first_row: int = 0
    batch_size: int = 256


def verify(
    model: Model,
    artefacts: Mapping[str, Artefact],
    x: Arrays,
    drawing: Drawing,
    progress: Callable[[int, int], None] | None = None,
) -> list[Comparison]:
    """Compare every sample of every artefact with the oracle of `model`, by bit pattern.

    `progress` is told (batches done, batches in all). InputError if x does not fit.
    """
    batch = rows_taken_by(model.graph).of(x)
    check_samples(model, drawing.samples)
    as_first_row(drawing.first_row)
    as_count(drawing.batch_size, "`batch_size`", MOST_ROWS_AT_ONCE)
    if len(batch) == 0:
        raise InputError("no rows, so that nothing would be compared", place="the input")
    results = [Comparison(name) for name in artefacts]
    starts = range(0, len(batch), drawing.batch_size)
    jobs = [(seed, start) for seed in drawing.seeds for start in starts]
    for done, (seed, start) in enumerate(jobs, 1):
        part = batch[start : start + drawing.batch_size]
        work = _Batch(model, part, seed, drawing.first_row + start, drawing.samples)
        for result, artefact in zip(results, artefacts.values(), strict=True):
            work.compare(artefact, result)
        if progress is not None:
            progress(done, len(jobs))
    return results


def check_samples(model: Model, samples: int | None) -> None:
    """InputError unless the model can give this many samples."""
    members = len(model.members)
    if samples is not None:
        as_count(samples, "`samples`", limits.DRAWS.most * members)
    if samples is None or samples == members or (model.stochastic and samples % members == 0):
        return
    if model.stochastic:
        raise InputError(f"give a multiple of the {members} members", place=f"`samples` {samples}")
    gives = "one sample" if members == 1 else f"one sample of each of its {members} members"
    raise InputError(
        f"nothing is random here, and it gives {gives}",
        place=f"`samples` {samples}",
        remedy="leave `samples` out",
    )


class _Batch:
    """One batch and seed: the oracle's samples, and how artefacts are held against them."""

    def __init__(
        self, model: Model, x: NDArray[np.float32], seed: int, first_row: int, samples: int | None
    ) -> None:
        self.model, self.x, self.seed, self.first_row = model, x, seed, first_row
        self.samples = model.samples if samples is None else samples
        made = oracle_samples(model, x, samples=self.samples, seed=seed, first_row=first_row)
        self.expected = dict(zip(model.head.sample_names(len(made)), made, strict=True))
        self.statistics = model.head.evaluate(made) if len(x) else {}

    def compare(self, artefact: Artefact, result: Comparison) -> None:
        found = artefact.predict(
            self.x, samples=self.samples, seed=self.seed, first_row=self.first_row
        )
        for name, expected in self.expected.items():
            differs = bits(expected) != bits(found[name])
            result.values += expected.size
            result.differing += int(differs.sum())
            if result.first is None and differs.any():
                where = tuple(int(i) for i in np.argwhere(differs)[0])
                result.first = self.difference(artefact, name, where, expected, found[name])
        largest = max((float(np.abs(e).max(initial=0)) for e in self.expected.values()), default=0)
        for name, statistic in self.statistics.items():
            result.statistics_off += int((~_close(name, statistic, found[name], largest)).sum())

    def difference(
        self,
        artefact: Artefact,
        output: str,
        where: tuple[int, ...],
        expected: NDArray[np.float32],
        found: NDArray[np.float32],
    ) -> Difference:
        sample, row = where[:2]
        node = self.first_node(artefact, row)
        return Difference(
            output,
            self.seed,
            sample,
            self.first_row + row,
            float(expected[where]),
            float(found[where]),
            node,
        )

    def first_node(self, artefact: Artefact, row: int) -> str | None:
        """The first node, in execution order, whose codes for this row differ; None if none.

        "unknown", with the reason, from an engine that cannot give the codes.
        """
        x, first_row = self.x[row : row + 1], self.first_row + row
        seen: dict[str, Array] = {}

        def observe(member: int, value: Value, array: Array) -> None:
            prefix = f"member{member}/" if len(self.model.members) > 1 else ""
            seen[prefix + value.name] = array

        oracle_samples(
            self.model,
            x,
            samples=self.samples,
            seed=self.seed,
            first_row=first_row,
            observe=observe,
        )
        try:
            traced = artefact.trace(x, samples=self.samples, seed=self.seed, first_row=first_row)
        except UserError as error:
            return f"unknown: {error.message}"
        for name, expected in seen.items():
            if name in traced and not _same_codes(expected, traced[name]):
                return name
        return None


def bits(array: NDArray[np.float32]) -> NDArray[np.uint32]:
    """The bit patterns: 0.0 and -0.0 differ, a NaN equals itself."""
    return np.ascontiguousarray(array, np.float32).view(np.uint32)


def _same_codes(a: Array, b: Array) -> bool:
    try:
        left, right = np.broadcast_arrays(a, b)
    except ValueError:
        return False
    if left.dtype == np.float32:
        return bool((bits(left) == bits(right)).all())
    return bool((left == right).all())


def _close(
    name: str, expected: NDArray[np.float32], found: NDArray[np.float32], largest: float
) -> NDArray[np.bool_]:
    """Within the tolerance of section 4.

    Means to 1e-6 * max(1, max|sample|), probabilities and entropies to 1e-6; variances to 1e-5
    relative, below which the rounding of float64 squares is all there is.
    """
    if name in _VARIANCES or name.startswith("variance"):
        off, relative = 1e-12 * largest**2, VARIANCE_TOLERANCE
    else:
        size = max(1.0, largest) if name.startswith("mean") else 1.0
        off, relative = MEAN_TOLERANCE * size, 0.0
    return np.isclose(found, expected, rtol=relative, atol=off, equal_nan=True)


_VARIANCES = ("aleatoric", "epistemic")
