"""The results of a study as tables for a terminal, a table for each network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from qbnnc.ir.head import Task
from qbnnc.study.sweep.rows import Result
from qbnnc.support.text import counted


@dataclass(frozen=True, slots=True)
class Table:
    """Cells as text; the first column names the configuration."""

    title: str
    header: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Column:
    """One metric: its heading with the unit, and how it is written."""

    heading: str
    metric: str
    factor: float = 1.0
    digits: int = 3
    ood: bool = False

    def of(self, result: Result) -> float | None:
        """Its value in a result, None where there is none."""
        value = (result.ood or {} if self.ood else result.metrics).get(self.metric)
        return None if value is None else self.factor * value

    def cell(self, results: Sequence[Result]) -> str:
        """Mean ± standard deviation over the seeds."""
        values = [value for result in results if (value := self.of(result)) is not None]
        if not values:
            return "-"
        if not np.isfinite(values).all():
            return "inf" if np.isposinf(values).any() else "-inf"
        spread = f"±{self._number(np.std(values, ddof=1))}" if len(values) > 1 else ""
        return self._number(np.mean(values)) + spread

    def _number(self, value: np.floating) -> str:
        return f"{value:.{self.digits}f}" if abs(value) < 1e3 else f"{value:.3g}"


_CLASSIFICATION = (
    Column("error %", "error", 100, 2),
    Column("NLL", "nll"),
    Column("ECE %", "ece", 100, 2),
    Column("aPE", "ape"),
    Column("OOD aPE", "ape", ood=True),
)
_REGRESSION = (
    Column("RMSE", "rmse", digits=4),
    Column("NLL", "nll"),
    Column("epistemic std", "epistemic_std", digits=4),
    Column("aleatoric std", "aleatoric_std", digits=4),
)


def tables(task: Task, results: Iterable[Result]) -> list[Table]:
    """One for each network, one line a configuration, in the order of the results.

    A metric that no result has gets no column.
    """
    held = tuple(results)
    columns = [
        column
        for column in (_CLASSIFICATION if task is Task.CLASSIFICATION else _REGRESSION)
        if any(column.of(result) is not None for result in held)
    ]
    header = ("", *(column.heading for column in columns))
    return [
        Table(_title(tuple(group)), header, tuple(_lines(group, columns)))
        for group in (
            [r for r in held if r.network == network]
            for network in dict.fromkeys(r.network for r in held)
        )
    ]


def failures(results: Iterable[Result]) -> list[str]:
    """What went wrong, a sentence for each configuration and reason."""
    found = {(f"{r.network} {configuration(r)}", r.error): 0 for r in results if r.error}
    return [f"{name}: {error}" for name, error in found]


def configuration(result: Result) -> str:
    """ "ptq w4a7", or "float"."""
    if result.weights is None:
        return result.precision.value
    return f"{result.precision.value} w{result.weights}a{result.activations}"


def _lines(results: Iterable[Result], columns: Sequence[Column]) -> Iterable[tuple[str, ...]]:
    for name, group in groupby(results, key=configuration):
        repeated = tuple(group)
        good = [result for result in repeated if result.error is None]
        mark = "" if len(good) == len(repeated) else " *" if good else " FAILED"
        yield (name + mark, *(column.cell(good) for column in columns))


def _title(results: Sequence[Result]) -> str:
    first = results[0]
    good = [result for result in results if result.error is None]
    samples = f", L = {good[0].samples}" if good else ""
    seeds = len({result.seed for result in results})
    return f"{first.network}: {first.method}{samples}, {counted(seeds, 'seed')}"
