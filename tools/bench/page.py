"""The tables of a page, made of measured rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from qbnnc.support.files import write_atomically
from tools.bench.contenders import COMPARED, SAMPLES, STATISTICS
from tools.bench.networks import cases

NATIVE, CONFINED = "native", "avx2"
_MISSING = "-"


@dataclass(frozen=True, slots=True)
class Row:
    """One network at one batch size: medians and ratios by contender.

    With two numbers of threads the contenders are our runtime with each of them.
    """

    table: str
    machine: str
    command: str
    case: str
    batch: int
    threads: tuple[int, ...]
    microseconds: dict[str, float]
    ratios: dict[str, str]

    @property
    def place(self) -> tuple[object, ...]:
        """The place of this measurement; a newer row replaces an older one of the same place."""
        return self.table, self.machine, self.case, self.batch, self.threads


def cells(row: Row, titles: Mapping[str, str]) -> list[str]:
    """Return the cells of a row in its table."""
    which = [titles[row.case], str(row.batch), " and ".join(map(str, row.threads))]
    if len(row.threads) > 1:
        times = [_time(row, str(count)) for count in row.threads]
        return [*which, *times, row.ratios[str(row.threads[0])]]
    made = list[str]()
    for ours in (SAMPLES, STATISTICS):
        made.append(_time(row, ours))
        made += [row.ratios.get(name, _MISSING) for name, its in COMPARED.items() if its == ours]
    return [*which, *made]


def _columns(row: Row) -> list[str]:
    which = ["network", "batch", "threads"]
    if len(row.threads) > 1:
        return [*which, *(f"{count}: us" for count in row.threads), "faster by"]
    made = list[str]()
    for ours in (SAMPLES, STATISTICS):
        made += [f"{ours}, us", *(name for name, its in COMPARED.items() if its == ours)]
    return [*which, *made]


def _time(row: Row, name: str) -> str:
    found = row.microseconds.get(name)
    return _MISSING if found is None else f"{found:.4g}" if found < 1e4 else f"{found:.0f}"


def line(parts: Iterable[str]) -> str:
    """Return a line of a table in Markdown."""
    return f"| {' | '.join(parts)} |"


def check_marks(page: Path, tables: Sequence[str]) -> None:
    """Stop if a page has no place for a table."""
    text = page.read_text()
    for table in tables:
        if text.count(_mark(table)) != 2:
            raise SystemExit(f"{page}: has no two marks {_mark(table)}; write them where it goes")


def write_page(page: Path, rows: Sequence[Row], tables: Sequence[str]) -> None:
    """Put the newest rows of each table between its marks; a table without rows stays."""
    text = page.read_text()
    for table in tables:
        mine = [row for row in rows if row.table == table]
        if mine:
            before, _, after = text.split(_mark(table))
            text = f"{before}{_mark(table)}\n{tables_of(mine)}\n{_mark(table)}{after}"
    write_atomically(page, text.encode())


def tables_of(rows: Sequence[Row]) -> str:
    """Return the tables of the machine that was measured last."""
    machine = rows[-1].machine
    known = list(cases())
    order = {case.name: number for number, case in enumerate(known)}
    titles = {case.name: case.title for case in known}
    latest = {row.place: row for row in rows if row.machine == machine and row.case in order}
    ordered = sorted(latest.values(), key=lambda row: (order[row.case], row.batch, row.threads))
    lines = [f"{machine}.", ""]
    lines += [f"    {command}" for command in dict.fromkeys(row.command for row in ordered)]
    for several in (False, True):
        some = [row for row in ordered if (len(row.threads) > 1) is several]
        if some:
            header = _columns(some[0])
            lines += ["", line(header), "|---" * len(header) + "|"]
            lines += [line(cells(row, titles)) for row in some]
    return "\n".join(lines)


def _mark(table: str) -> str:
    return f"<!-- speed {table} -->"
