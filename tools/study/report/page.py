"""The page of a report: its sections, filled into the one template, page.html.jinja."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from qbnnc.study.report.bits import bit_figures
from qbnnc.study.report.distributions import calibration_figures, entropy_figures
from qbnnc.study.report.drawing import Figure, printable
from qbnnc.study.report.grouping import Grouped
from qbnnc.study.report.metrics import in_order
from qbnnc.study.report.sensitivity import sensitivity_figures
from qbnnc.study.report.shifts import shift_figures
from qbnnc.study.report.summary import findings, most_bits_table
from qbnnc.study.report.tables import (
    Table,
    failures_table,
    results_table,
    runs_table,
    sensitivity_table,
    shifts_table,
)
from qbnnc.study.results import Header


@dataclass(frozen=True, slots=True)
class Section:
    """A part with a heading that the list of contents links to; an empty one is left out.

    `findings` are subjects and sentences, `folded` is a table that opens on a click, `terms` are
    lists of terms and their descriptions.
    """

    id: str
    heading: str
    findings: Iterable[tuple[str, str]] = ()
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()
    folded: Table | None = None
    terms: Sequence[Mapping[str, str]] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        return not (self.findings or self.figures or self.tables or self.terms)


def page(grouped: Grouped, title: str) -> str:
    """A whole HTML document; the same rows give the same text."""
    environment = Environment(
        autoescape=True,
        loader=FileSystemLoader(Path(__file__).parent),
        lstrip_blocks=True,
        trim_blocks=True,
        undefined=StrictUndefined,
    )
    names = ", ".join(dict.fromkeys(h.name for h in grouped.headers if h.name != title))
    sections = [section for section in _sections(grouped) if not section.is_empty]
    template = environment.get_template("page.html.jinja")
    return printable(template.render(title=title, names=names, sections=sections)) + "\n"


def _sections(grouped: Grouped) -> Iterator[Section]:
    tables = [table] if (table := most_bits_table(grouped)) else []
    yield Section("summary", "Summary", list(findings(grouped)), tables=tables)
    yield Section("bits", "Metrics against bits", figures=list(bit_figures(grouped)))
    yield Section("calibration", "Calibration", figures=list(calibration_figures(grouped)))
    yield Section("entropy", "Uncertainty", figures=list(entropy_figures(grouped)))
    if shifted := list(shift_figures(grouped)):
        yield Section("shifts", "Distribution shifts", (), shifted, folded=shifts_table(grouped))
    if grouped.sensitivities:
        figures, tables = list(sensitivity_figures(grouped)), [sensitivity_table(grouped)]
        yield Section("sensitivity", "Sensitivity of layers", figures=figures, tables=tables)
    if grouped.groups:
        tables, folded = [results_table(grouped)], runs_table(grouped)
        yield Section("results", "Results", tables=tables, folded=folded)
    if grouped.failures:
        yield Section("failures", "Failures", tables=[failures_table(grouped)])
    if terms := _glossary(grouped):
        yield Section("metrics", "What the metrics mean", terms=[terms])
    provenance = [_provenance(header) for header in grouped.headers]
    yield Section("provenance", "Provenance", terms=provenance)


def _glossary(grouped: Grouped) -> dict[str, str]:
    """The meanings of the metrics that the page shows."""
    keys = [key for r in grouped.results for key in (*r.metrics, *(r.ood or {}))]
    terms = {metric.label: metric.meaning for metric in in_order(keys) if metric.meaning}
    if any(r.ood for r in grouped.results):
        terms["OOD data"] = "out-of-distribution data: inputs unlike those of training"
    return terms


_SHOWN = {"confusion": "out-of-distribution"}
"""The names of data for readers, by their keys in files of results, where these differ."""


def _provenance(header: Header) -> dict[str, str]:
    """A study's configuration, data and versions."""
    return {
        "Study": header.name,
        "Method": header.method,
        "Task": header.task.value,
        "Digest of the configuration": header.digest,
        **{f"Data: {_SHOWN.get(name, name)}": text for name, text in header.data.items()},
        **header.created_with,
    }
