"""The tables of the page, made of measured rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from qbnnc.ir.head import Task
from qbnnc.support.files import write_atomically
from tools.bench.few_bits.levers import DEFAULT, LEVERS, TUNED
from tools.bench.few_bits.rows import FLOAT, Found, Row, mean_of, raised

_MISSING = "-"
_MEASURES = {  # title, digits, whether a sign is shown
    "error": ("RMSE ratio, or error", 3, False),
    "kl": ("KL, nats", 4, False),
    "rank": ("rank", 3, False),
    "spread": ("spread", 2, False),
    "ood": ("OOD AUROC", 3, True),
    "calibration": ("coverage, or ECE", 1, True),
}


def check_marks(page: Path) -> None:
    """Stop if a page has no place for a table."""
    text = page.read_text()
    for table in _TABLES:
        if text.count(_mark(table)) != 2:
            raise SystemExit(f"{page}: has no two marks {_mark(table)}; write them where it goes")


def write_page(page: Path, rows: Sequence[Row]) -> None:
    """Put the tables of the newest rows between their marks; a table without rows stays."""
    text = page.read_text()
    found = Found(rows)
    for table, make in _TABLES.items():
        if lines := list(make(found)):
            before, _, after = text.split(_mark(table))
            made = "\n".join(lines)
            text = f"{before}{_mark(table)}\n{made}\n{_mark(table)}{after}"
    write_atomically(page, text.encode())


def _summary(found: Found) -> Iterator[str]:
    """The number of networks that keep each measure at each width, and the worst of them."""
    widths = found.widths(DEFAULT)
    if not widths:
        return
    yield from _header(["width", *(kept.title for kept in _KEPT)])
    for bits in widths:
        rows = [found.at(network, bits, DEFAULT) for network in found.networks()]
        yield _line([bits, *(kept.cell([r for r in rows if r], found.titles) for kept in _KEPT)])


@dataclass(frozen=True, slots=True)
class _Kept:
    """A measure that a network keeps while it is between two limits.

    A value counts as kept if its standard error reaches the limits.
    """

    title: str
    measure: str
    task: str | None
    low: float
    high: float

    def cell(self, networks: Sequence[Sequence[Row]], titles: Mapping[str, str]) -> str:
        """ "12 of 14, worst .91 (Friedman, MLP BBB)"."""
        found = [
            (mean_of(rows, self.measure), titles[rows[0].network])
            for rows in networks
            if self.task in (None, rows[0].task) and any(self.measure in r.measures for r in rows)
        ]
        if not found:
            return _MISSING
        kept = sum(self.low <= v + e and v - e <= self.high for (v, e), _ in found)
        (worst, _), name = max(
            found, key=lambda each: max(self.low - each[0][0], each[0][0] - self.high)
        )
        _, digits, signed = _MEASURES[self.measure]
        if self.task == Task.CLASSIFICATION.value:
            digits, signed = 1, True
        return f"{kept} of {len(found)}, worst {_shown(worst, digits, signed)} ({name})"


_KEPT = (
    _Kept("RMSE, at most 1.05 times", "error", Task.REGRESSION.value, -np.inf, 1.05),
    _Kept("error, at most +1 point", "error", Task.CLASSIFICATION.value, -np.inf, 1),
    _Kept("rank, .95 or more", "rank", None, 0.95, np.inf),
    _Kept("spread, .8 to 1.25", "spread", None, 0.8, 1.25),
    _Kept("OOD AUROC, at least -.015", "ood", None, -0.015, np.inf),
)


def _widths(found: Found) -> Iterator[str]:
    """Every network at every width by default, below the float network at another seed."""
    columns = [title for title, _, _ in _MEASURES.values()]
    widths = found.widths(DEFAULT)
    if not widths:
        return
    yield from _origin(found, {DEFAULT, FLOAT})
    yield from _header(["network", "width", *columns])
    for network in found.networks():
        for bits, lever in (("", FLOAT), *((bits, DEFAULT) for bits in widths)):
            if rows := found.at(network, bits, lever):
                name = "float, other seed" if lever == FLOAT else bits
                yield _line([found.titles[network], name, *_cells(rows)])
    yield ""
    yield _monotone(found, widths)


def _levers(found: Found) -> Iterator[str]:
    """A table of each width and measure: networks and levers."""
    widths = found.widths(LEVERS[0].name)
    if not widths:
        return
    yield from _origin(found, {lever.name for lever in LEVERS})
    shown = {
        "KL, nats": ["kl"],
        "rank / spread": ["rank", "spread"],
        "RMSE ratio, or error": ["error"],
    }
    for bits, (title, names) in product(widths, shown.items()):
        yield ""
        yield f"{bits}: {title}"
        yield ""
        yield from _header(["network", *(lever.title for lever in LEVERS)])
        for network in found.networks():
            cells = [_joined(found.at(network, bits, each.name), names) for each in LEVERS]
            if set(cells) != {_MISSING}:
                yield _line([found.titles[network], *cells])


def _joined(rows: Sequence[Row], names: Sequence[str]) -> str:
    cells = [_cell(rows, name) for name in names]
    return _MISSING if set(cells) == {_MISSING} else " / ".join(cells)


def _tuned(found: Found) -> Iterator[str]:
    """Every network before and after fine-tuning."""
    widths = found.widths(TUNED)
    if not widths:
        return
    yield from _origin(found, {TUNED})
    yield from _header(["network", "width", *(title for title, _, _ in _MEASURES.values())])
    for network, bits in product(found.networks(), widths):
        for lever in (DEFAULT, TUNED):
            if rows := found.at(network, bits, lever):
                name = bits if lever == DEFAULT else f"{bits}, {TUNED}"
                yield _line([found.titles[network], name, *_cells(rows)])


_TABLES = {"summary": _summary, "widths": _widths, "levers": _levers, "fine-tuning": _tuned}


def _origin(found: Found, levers: set[str]) -> Iterator[str]:
    """The number of samples and seeds, the versions, and the commands that gave the rows."""
    rows = [row for row in found.rows if row.lever in levers]
    seeds = len({row.seed for row in rows if row.lever != FLOAT})
    versions = " and ".join(dict.fromkeys(row.versions for row in rows))
    yield f"L = {found.samples}; seeds of training: {seeds}; {versions}."
    yield ""
    yield from (f"    {command}" for command in dict.fromkeys(row.command for row in rows))
    yield ""


def _cells(rows: Sequence[Row]) -> list[str]:
    return [_cell(rows, name, error=name in ("kl", "rank", "spread", "ood")) for name in _MEASURES]


def _cell(rows: Sequence[Row], name: str, *, error: bool = False) -> str:
    """The mean over the seeds, with its standard error if asked for."""
    if any(row.failure for row in rows):
        return "failed" if name == "error" else _MISSING
    if not any(name in row.measures for row in rows):
        return _MISSING
    mean, its_error = mean_of(rows, name)
    _, digits, signed = _MEASURES[name]
    if name == "error" and rows[0].task == Task.CLASSIFICATION.value:
        digits, signed = 1, True
    shown = _shown(mean, digits, signed)
    return f"{shown} ± {its_error:.{digits}f}" if error else shown


def _shown(value: float, digits: int, signed: bool) -> str:
    return f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"


def _monotone(found: Found, widths: Sequence[str]) -> str:
    """The sentence that says whether more bits never raise KL."""
    broken = [
        f"{found.titles[network]} from {few} to {many} by {mean:.4f} ± {error:.4f}"
        for network, few, many, mean, error in raised(found, widths)
    ]
    said = f"More bits never raise KL beyond two standard errors at {', '.join(widths)}:"
    return f"{said} {'it does not hold for ' + '; '.join(broken) if broken else 'it holds'}."


def _header(columns: Sequence[str]) -> Iterator[str]:
    yield _line(columns)
    yield "|---" * len(columns) + "|"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _mark(table: str) -> str:
    return f"<!-- few-bits {table} -->"
