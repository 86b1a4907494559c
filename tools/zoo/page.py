"""The page of the zoo's table, from rows that were measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import isnan
from pathlib import Path
from textwrap import fill

from tools.bench.machine import machine
from tools.zoo.goals import missed
from tools.zoo.measuring import Row
from tools.zoo.network import Network
from tools.zoo.papers import papers
from tools.zoo.registry import FAMILIES, NETWORKS

_TEMPLATE = Path(__file__).with_suffix(".md")
_WIDTH = 110  # columns of the page, but for tables
_COLUMNS = (
    "network", "paper", "random", "parameters", "size", "float", "w8a7", "w4a4", "KL", "std",
    "spread", "time", "onnxruntime",
)  # fmt: skip


def page(rows: Mapping[str, Row]) -> str:
    """The whole page in Markdown; a network that was not measured is left out."""
    tables = list[str]()
    for family, networks in FAMILIES.items():
        found = [(network, rows[network.name]) for network in networks if network.name in rows]
        if found:
            tables.append(f"\n## {family}\n\n{_table(found)}")
    text = _TEMPLATE.read_text(encoding="utf-8")
    return text.format(
        machine=fill(f"Measured on {machine()}, one thread.", _WIDTH),
        all=len(NETWORKS),
        measured=_measured(rows),
        missed=fill(_missed(rows), _WIDTH),
        tables="".join(tables),
        papers="".join(_cited(rows)),
    )


def _measured(rows: Mapping[str, Row]) -> str:
    """How many networks were measured, as the end of a sentence."""
    count = sum(network.name in rows for network in NETWORKS)
    if count == len(NETWORKS):
        return "all of them are measured"
    return f"{count} of them are measured so far; `make zoo` adds the others"


def _missed(rows: Mapping[str, Row]) -> str:
    """A sentence about the networks that miss a goal."""
    found = {
        name: ", ".join(missed(row.fidelity, classes=row.classes)) for name, row in rows.items()
    }
    far = [f"{name} ({goals})" for name, goals in found.items() if goals]
    return f"These miss a goal: {'; '.join(far)}." if far else "All measured networks meet them."


def _table(found: Sequence[tuple[Network, Row]]) -> str:
    lines = [_COLUMNS, ("---",) * 3 + ("---:",) * (len(_COLUMNS) - 3)]
    lines += [_cells(network, row) for network, row in found]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cells(network: Network, row: Row) -> tuple[str, ...]:
    errors = (row.reference, row.wide, row.narrow)
    return (
        network.name,
        str(network.cited),
        network.posterior,
        f"{row.parameters:,}".replace(",", " "),
        f"{row.size / 1000:.1f}",
        *(f"{100 * error:.1f} %" if row.classes else f"{error:.3f}" for error in errors),
        _number(1000 * row.kl),
        _number(row.std),
        _number(row.spread),
        f"{1000 * row.seconds:.2f}",
        f"{row.times:.1f}",
    )


def _number(value: float) -> str:
    return "" if isnan(value) else f"{value:.2f}"


def _cited(rows: Mapping[str, Row]) -> Iterator[str]:
    """A line for each paper of a measured network, by its authors."""
    networks = [network for family in FAMILIES.values() for network in family]
    keys = {network.paper for network in networks if network.name in rows}
    for paper in sorted((papers()[key] for key in keys), key=lambda p: (str(p), p.title)):
        line = f"- {paper.authors} ({paper.year}). {paper.title}.".replace("?.", "?")
        yield f"{fill(line, _WIDTH, subsequent_indent='  ', break_on_hyphens=False)}\n"
