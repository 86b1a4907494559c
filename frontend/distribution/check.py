"""The check that the FLOAT graph is the module: on the same random numbers, then by samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from qbnnc.frontend.distribution.coupled_calls import CALLS, Unequal, coupled
from qbnnc.frontend.distribution.first_departure import first_departure
from qbnnc.frontend.distribution.plain_calls import nested_encoder, plain_unequal
from qbnnc.frontend.distribution.reference import Reference
from qbnnc.frontend.distribution.samples import (
    Element,
    cost_of_sample,
    elements_of,
    graph_samples,
    module_samples,
)
from qbnnc.frontend.distribution.statistics import (
    Difference,
    Power,
    Quantity,
    compare,
    group_size,
    number_of_comparisons,
    power,
    samples_for,
)
from qbnnc.ir.check import random_nodes
from qbnnc.ir.graph import Graph
from qbnnc.support.errors import CompileError, Loc

Progress = Callable[[int, int], None]

COUPLED_ROWS = 3  # convert.draw_sources.DrawSource lists the elements of each draw for 3 rows
_ROWS = 4
_FULL_ROWS = 8
_FULL = Power(mean=0.1, standard_deviation=0.05, correlation=0.1)
_LEAST, _MOST = 256, 2048  # samples of one member by default
_BUDGET = 1 << 32  # multiplications of the samples of all members
_DETERMINISTIC_CALLS = 64


class Effort(Enum):
    """The effort of a check: the number of samples."""

    DEFAULT = "default"  # the number follows from the graph's cost
    FULL = "full"  # 99 % power for .1 of a mean, 5 % of a standard deviation, .1 of a correlation


class DistributionError(CompileError):
    """The compiled network would not be the one that was trained."""


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """One member of a check; `exact` is its FLOAT graph after the passes that rewrite FLOAT.

    `sampled` is the same graph with the user's options, such as masks shared by the batch. These
    change the quantities `skipped`.
    """

    reference: Reference
    exact: Graph
    sampled: Graph
    skipped: frozenset[Quantity] = frozenset()


@dataclass(frozen=True, slots=True)
class Report:
    """The settings and the design power of a check, never measured values."""

    members: int
    calls: int
    rows: int
    samples: int
    sampled_rows: int
    power: Power | None
    skipped: tuple[str, ...]
    program: bool
    own_draws: bool = False

    def __str__(self) -> str:
        """The report as one line for the provenance."""
        what = "saved program" if self.program else "module"
        parts = [f"equal to the {what} in {self.calls} coupled calls of {_rows(self.rows)}"]
        if self.power is None:
            parts.append(f"and in {self.samples} calls in sequence")
        else:
            drawn = "drawn by the object itself, " if self.own_draws else ""
            parts.append(
                f"and by {self.samples} samples {drawn}of {_rows(self.sampled_rows)} "
                f"(found with 99 %: {_share(self.power.mean)} of a deviation in a mean, "
                f"{_share(self.power.standard_deviation)} of a deviation, "
                f"{self.power.correlation:.2g} of a correlation; false alarms 1e-4)"
            )
        if self.skipped:
            parts.append(f"not compared: {', '.join(self.skipped)}")
        return ", ".join(parts)


def check_distribution(
    subjects: Sequence[Subject],
    x: NDArray[np.float32],
    effort: Effort = Effort.DEFAULT,
    progress: Progress | None = None,
) -> Report:
    """Raise DistributionError at the first module that departs, unless all members agree.

    `x` [N, *shape] are calibration rows, some of which are used. `progress` is called with
    (samples done, samples in all).
    """
    first = subjects[0]
    reference = first.reference
    stochastic = any(True for _ in random_nodes(first.exact))
    few = reference.rows(x, COUPLED_ROWS)
    rows = reference.rows(x, _FULL_ROWS if effort is Effort.FULL else _ROWS)
    comparisons = len(subjects) * number_of_comparisons(len(rows), len(elements_of(first.exact)))
    samples = _samples(subjects, len(rows), comparisons, effort) if stochastic else 0
    calls = samples or _DETERMINISTIC_CALLS
    total, done = len(subjects) * (2 * samples or calls), 0

    def tell(more: int) -> None:
        nonlocal done
        done += more
        if progress is not None:
            progress(done, total)

    for subject in subjects:
        _check_coupled(subject, few)
        if stochastic:
            _check_sampled(subject, rows, samples, comparisons, tell)
        else:
            _check_constant(subject, few, calls, tell)
    return Report(
        len(subjects),
        CALLS,
        len(few),
        calls,
        len(rows),
        power(samples, comparisons) if stochastic else None,
        tuple(sorted(q.value for q in _skipped(first))),
        reference.is_program,
        any(subject.reference.draw is not None for subject in subjects),
    )


def _samples(subjects: Sequence[Subject], rows: int, comparisons: int, effort: Effort) -> int:
    """The number of samples, by the graph's cost and no clock: compiling stays reproducible."""
    if effort is Effort.FULL:
        return samples_for(_FULL, comparisons)
    cost = cost_of_sample(subjects[0].exact) * rows * len(subjects)
    samples = min(max(_BUDGET // max(cost, 1), _LEAST), _MOST)
    return samples - samples % group_size(samples)


def _check_coupled(subject: Subject, x: NDArray[np.float32]) -> None:
    found = coupled(subject.reference, subject.exact, x)
    if found is not None:
        departure = first_departure(subject.reference, x, range(CALLS))
        loc = departure.loc if departure else Loc(_output_name(subject, found.output))
        told = _told(subject, found)
        if (
            departure is None
            and coupled(subject.reference, subject.reference.traced.graph, x) is None
        ):
            told += "; before qbnnc rewrites the graph they agree"
        _fail(subject, loc, departure.kind if departure else "", told)


def _told(subject: Subject, found: Unequal) -> str:
    if found.draw:
        return found.draw
    name = _output_name(subject, found.output)
    return (
        f"with the same random numbers, {name} of row {found.row} is {found.module:.6g} in the "
        f"module and {found.graph:.6g} in the compiled network (call {found.call + 1})"
    )


def _check_sampled(
    subject: Subject,
    x: NDArray[np.float32],
    samples: int,
    comparisons: int,
    tell: Callable[[int], None],
) -> None:
    reference = subject.reference
    module = module_samples(reference, x, samples, tell)
    graph = graph_samples(subject.sampled, x, samples, tell)
    _check_finite(subject, module, graph)
    found = compare(module, graph, _skipped(subject), comparisons)
    if found:
        _fail_sampled(subject, found[0], samples)


def _skipped(subject: Subject) -> frozenset[Quantity]:
    """The quantities to skip; Flipout's rows are less alike than rows that share weights."""
    flipout = {Quantity.ROWS} if subject.reference.traced.signs else set()
    return subject.skipped | flipout


def _check_constant(
    subject: Subject, x: NDArray[np.float32], calls: int, tell: Callable[[int], None]
) -> None:
    """Raise DistributionError if calls of the module differ, as the graph has no noise."""
    _check_plain(subject, x)
    made = module_samples(subject.reference, x, calls, tell)
    _check_finite(subject, made, made)
    largest = np.abs(made).max((0, 1))
    apart = np.abs(made - made[:1]) > 1e-4 * largest + 1e-12
    if apart.any():
        call, row, element = (int(i) for i in np.argwhere(apart)[0])
        name = _output_name(subject, elements_of(subject.exact)[element].output)
        _fail(
            subject,
            Loc(name),
            "",
            f"nothing in the compiled network is random, and {name} of row {row} is "
            f"{made[0, row, element]:.6g} in the first call of the module and "
            f"{made[call, row, element]:.6g} in call {call + 1}",
        )


def _check_plain(subject: Subject, x: NDArray[np.float32]) -> None:
    found = plain_unequal(subject.reference, subject.exact, x)
    if found is None:
        return
    name = _output_name(subject, found.output)
    told = (
        f"called plainly, {name} of row {found.row} is {found.module:.6g} in the module and "
        f"{found.graph:.6g} in the compiled network"
    )
    encoder = nested_encoder(subject.reference.module)
    if encoder is None:
        _fail(subject, Loc(name), "", told)
    raise DistributionError(
        f"nn.TransformerEncoder puts zeros at padded positions in eval(), which it did not in "
        f"training, and they reach the outputs: {told}",
        Loc(encoder),
        remedy="say enable_nested_tensor=False, or leave padded positions out of what is "
        "computed from its outputs",
    )


def _check_finite(subject: Subject, *arrays: NDArray[np.float64]) -> None:
    for array in arrays:
        if not np.isfinite(array).all():
            row, element = (int(i) for i in np.argwhere(~np.isfinite(array))[0][1:])
            name = _output_name(subject, elements_of(subject.exact)[element].output)
            raise DistributionError(
                f"row {row} of the calibration data gives NaN or infinity in some samples",
                name,
                remedy="check the weights and the scale of the data",
            )


def _fail_sampled(subject: Subject, found: Difference, samples: int) -> NoReturn:
    elements: tuple[Element, ...] = elements_of(subject.exact)
    name = _output_name(subject, 0 if found.element is None else elements[found.element].output)
    where = "" if found.row is None else f" of row {found.row}"
    _fail(
        subject,
        Loc(name),
        "",
        f"in {samples:,} samples the {found.quantity.value} of {name}{where} is "
        f"{found.module:.4g} in the module and {found.graph:.4g} in the compiled network",
    )


def _fail(subject: Subject, loc: Loc, kind: str, told: str) -> NoReturn:
    member = f" (in {subject.reference.name})" if subject.reference.name else ""
    first = f"; the first module whose output departs is this {kind}" if kind else ""
    raise DistributionError(
        f"the compiled network would not be the trained one{member}: {told}{first}. A "
        "forward that keeps state between calls, seeds its own noise or draws outside "
        "torch cannot be compiled",
        loc,
        remedy="make each call a function of its input and of torch's random numbers. If "
        "yours is one, report this; `distribution_check=None` compiles it all the same",
    )


def _output_name(subject: Subject, number: int) -> str:
    count = len(subject.exact.outputs)
    return "the output" if count == 1 else f"output {number}"


def _rows(count: int) -> str:
    return f"{count} row{'s' * (count != 1)}"


def _share(value: float) -> str:
    return f"{100 * value:.2g} %"
