"""Studies, sensitivities and choices of bits as people read them, in 80 columns."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

import numpy as np

from qbnnc.ir.head import Task
from qbnnc.passes.mixed_precision.analysis import Cost, Sensitivities
from qbnnc.passes.mixed_precision.layers import Kind
from qbnnc.passes.mixed_precision.search import Choice
from qbnnc.study.results import Result
from qbnnc.support.text import WIDTH, counted, fold, human_bytes, shortened, spaced, table

_SHORTEST: Final = 9  # of a layer's name; the table is wider if numbers leave less
_TITLES: Final = {
    "nll": "NLL",
    "ape": "aPE",
    "error": "error, %",
    "rmse": "RMSE",
    "epistemic_std": "epi. std",
    "ood_ape": "OOD aPE",
    "ood_epistemic_std": "OOD epi.",
}
_SHOWN: Final = {
    Task.CLASSIFICATION: ("ape", "error", "ood_ape"),
    Task.REGRESSION: ("epistemic_std", "rmse", "ood_epistemic_std"),
}


@dataclass(frozen=True, slots=True)
class Table:
    """Cells as text; the first column names the configuration."""

    title: str
    header: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Column:
    """One metric: its heading with the unit, and its number format."""

    heading: str
    metric: str
    factor: float = 1.0
    digits: int = 3
    ood: bool = False

    def of(self, result: Result) -> float | None:
        """The value in a result, None if it has none."""
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
_FIDELITY = (
    Column("KL from float, nats", "kl", digits=4),
    Column("rank correlation", "rank"),
    Column("spread / float's", "spread"),
)


def tables(task: Task, results: Iterable[Result]) -> list[Table]:
    """Two tables for each network, a line for each configuration, in the order of the results.

    The first has the metrics, and the second compares the uncertainties with those in float. A
    metric that no result has gets no column, and a table without columns is left out.
    """
    held = tuple(results)
    metrics = _CLASSIFICATION if task is Task.CLASSIFICATION else _REGRESSION
    found = []
    for network in dict.fromkeys(r.network for r in held):
        group = [r for r in held if r.network == network]
        found.append(_network_table(_title(group), group, held, metrics))
        if any(column.of(result) is not None for column in _FIDELITY for result in group):
            title = f"{group[0].network}: uncertainties beside those in float"
            found.append(_network_table(title, group, group, _FIDELITY))
    return found


def _network_table(
    title: str, group: Sequence[Result], held: Sequence[Result], metrics: Sequence[Column]
) -> Table:
    """The table of a network, with the columns that some result of `held` has."""
    columns = [c for c in metrics if any(c.of(result) is not None for result in held)]
    header = ("", *(column.heading for column in columns))
    return Table(title, header, tuple(_lines(group, columns)))


def failures(results: Iterable[Result]) -> list[str]:
    """List a sentence for each configuration and reason of failure."""
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


def lines_of(found: Sensitivities, data: str) -> Iterator[str]:
    """The measurements, a row for each layer and width, and the meaning of the marks."""
    seeds = ", ".join(map(str, found.seeds))
    sizes = (human_bytes(math.ceil(found.bits(kind) / 8)) for kind in Kind)
    rows = counted(found.rows, "row")
    yield fold(f"{found.network}: {found.method}, {found.task.value} of {data}: {rows}")
    base = spaced(str(found.base))
    yield fold(f"  L = {found.samples}, seed {seeds}; all layers at {base}:", "  ")
    shown = ("nll", *(key for key in _SHOWN[found.task] if key in found.baseline))
    values = ", ".join(f"{_TITLES[k]} {_number(k, found.baseline[k])}" for k in shown)
    yield f"  {values}"
    yield "  weights {}, activations {} a row and sample".format(*sizes)
    yield ""
    yield from _table(found, shown)
    yield ""
    yield "One layer alone at other bits: what it saves and adds; a4 are the activations it"
    yield "gives. KL: by how much NLL would grow if the truth were drawn from the base's"
    yield "predictions, so without the noise of labels. > costs most at its width. ±: the"
    yield "standard error, over the rows, of the NLL's difference."


def _table(found: Sensitivities, shown: Sequence[str]) -> Iterator[str]:
    header = ["bits", "saves", "KL", "NLL", "±", *(_TITLES[key] for key in shown[1:])]
    dearest = {cost for cost in found.costs if _is_dearest(cost, found.costs)}
    rows = []
    for cost in found.costs:
        added = [_added(key, cost.metrics[key], found.baseline[key]) for key in shown]
        error = "-" if cost.nll_error is None else f"{cost.nll_error:.4f}"
        known = [str(cost.tried), _saves(cost.saved), _number("kl", cost.divergence)]
        rows.append([*known, added[0], error, *added[1:]])
    columns = zip(header, *rows, strict=True)
    room = max(_SHORTEST, WIDTH - 2 - sum(2 + max(map(len, column)) for column in columns))
    names = (
        f"{'>' if cost in dearest else ' '} {shortened(cost.layer.name, room)}"
        for cost in found.costs
    )
    lines = [[name, *row] for name, row in zip(names, rows, strict=True)]
    yield from table(["  layer", *header], lines).splitlines()


def _is_dearest(cost: Cost, costs: Sequence[Cost]) -> bool:
    """Whether a cost is the highest at its width."""
    others = (other.divergence for other in costs if other.tried == cost.tried)
    return 0 < cost.divergence == max(others)


def choice_lines(choice: Choice) -> Iterator[str]:
    """The bits of each layer, and the measurements."""
    budget, metric = choice.budget, choice.budget.metric
    measured = (
        budget.of_float(choice.reference),
        budget.value(choice.baseline),
        budget.value(choice.result),
    )
    values = [budget.shown(value) for value in measured]
    limit, end = budget.shown(choice.limit), "least" if metric == "rank" else "most"
    yield fold(f"budget {budget}: {metric} {values[0]} in float, {limit} at {end};")
    yield f"  {values[1]} at {choice.base}, {values[2]} as chosen"
    rows = [
        [f"  {shortened(layer.name, 50)}", *(str(kind.of(bits)) if n else "-" for kind, n in
         ((kind, layer.numbers(kind)) for kind in Kind))]
        for layer, bits in choice.all_bits
    ]  # fmt: skip
    yield from table(["  layer", "weights", "activations"], rows).splitlines()
    for kind, name in ((Kind.WEIGHTS, "weights"), (Kind.ACTIVATIONS, "activations")):
        before, after = (human_bytes(math.ceil(bits / 8)) for bits in choice.stored(kind))
        yield f"  {name:<12}{after}, {before} at {choice.base}"
    alone, whole = (
        counted(len(choice.costs), "width"),
        counted(len(choice.trace), "whole network"),
    )
    yield f"  measured    {alone} alone, {whole}"


def _saves(bits: int) -> str:
    size = human_bytes(math.ceil(abs(bits) / 8))
    return f"-{size}" if bits < 0 else size


def _number(key: str, value: float) -> str:
    scaled = 100 * value if key == "error" else value
    if abs(scaled) >= 1000:
        return f"{scaled:.3g}"
    return f"{scaled:.2f}" if key == "error" or abs(scaled) >= 10 else f"{scaled:.4f}"


def _added(key: str, value: float, base: float) -> str:
    if math.isinf(base):
        return "-"
    text = _number(key, value - base)
    return text if text.startswith("-") else f"+{text}"
