"""The page of a report, put together from its sections."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count

from qbnnc.study.report.bits import bit_figures
from qbnnc.study.report.css import CSS
from qbnnc.study.report.distributions import calibration_figure, entropy_figure
from qbnnc.study.report.figures import Figure
from qbnnc.study.report.markup import Content, Markup, element
from qbnnc.study.report.quantities import in_order
from qbnnc.study.report.sensitivity import sensitivity_figures
from qbnnc.study.report.shifted import shift_figures
from qbnnc.study.report.study import Study
from qbnnc.study.report.summary import findings, most_bits_table
from qbnnc.study.report.tables import (
    failures_table,
    provenance,
    results_table,
    runs_table,
    sensitivity_table,
    shifts_table,
)

# Nothing is loaded from anywhere, whatever a name in the rows tries.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


@dataclass(frozen=True, slots=True)
class Section:
    """A part with a heading that the list of contents links to."""

    id: str
    heading: str
    content: tuple[Content, ...]

    def markup(self) -> Markup:
        return element("section", element("h2", self.heading, id=self.id), *self.content)


def page(study: Study, title: str) -> str:
    """A whole HTML document."""
    sections = [section for section in _sections(study) if section.content]
    links = (element("li", element("a", s.heading, href=f"#{s.id}")) for s in sections)
    names = ", ".join(dict.fromkeys(h.name for h in study.headers if h.name != title))
    lead = f"Quantised Bayesian neural networks against float. Study: {names}" if names else ""
    body = (
        element("h1", title),
        *([element("p", lead, class_="lead")] if lead else []),
        element("nav", element("ul", *links), aria_label="Contents"),
        *(section.markup() for section in sections),
    )
    head = (
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("title", title),
        element("style", Markup(CSS)),
    )
    document = element("html", element("head", *head), element("body", *body), lang="en")
    return f"<!DOCTYPE html>\n{document.text}\n"


def _sections(study: Study) -> Iterator[Section]:
    numbers = count(1)
    found = element("ul", *(_finding(*f) for f in findings(study)), class_="findings")
    most = most_bits_table(study)
    yield Section("summary", "Summary", (found, *([most] if most else [])))
    yield Section("bits", "Metrics against bits", _drawn(bit_figures(study), numbers))
    yield Section("calibration", "Calibration", _drawn(calibration_figure(study), numbers))
    yield Section("entropy", "Uncertainty", _drawn(entropy_figure(study), numbers))
    if shifted := _drawn(shift_figures(study), numbers):
        shifted += (_folded("Every shift", shifts_table(study)),)
    yield Section("shifts", "Distribution shifts", shifted)
    sensitivities = _drawn(sensitivity_figures(study), numbers)
    if study.sensitivities:
        sensitivities += (sensitivity_table(study),)
    yield Section("sensitivity", "Sensitivity of layers", sensitivities)
    if study.groups:
        runs = _folded("Every result", runs_table(study))
        yield Section("results", "Results", (results_table(study), runs))
    if study.failures:
        failures = element("div", failures_table(study), class_="failures")
        yield Section("failures", "Failures", (failures,))
    yield Section("metrics", "What the metrics mean", tuple(_glossary(study)))
    yield Section("provenance", "Provenance", tuple(provenance(study.headers)))


def _finding(subject: str, sentence: str) -> Markup:
    if not subject:
        return element("li", sentence)
    return element("li", element("strong", f"{subject}:"), f" {sentence}")


def _folded(heading: str, content: Markup) -> Markup:
    return element("details", element("summary", heading), content)


def _drawn(figures: Iterable[Figure], numbers: Iterator[int]) -> tuple[Content, ...]:
    return tuple(figure.markup(next(numbers)) for figure in figures)


def _glossary(study: Study) -> Iterator[Markup]:
    results = [r for group in study.groups.values() for r in group]
    found = in_order(
        key for r in results for metrics in (r.metrics, r.ood or {}) for key in metrics
    )
    known = [q for q in found if q.meaning]
    if known:
        terms = ((element("dt", q.label), element("dd", q.meaning)) for q in known)
        yield element("dl", *(item for pair in terms for item in pair))
