"""Tables: all configurations, all runs, failures, sensitivities, and where a study comes from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from qbnnc.study.report.markup import Markup, element
from qbnnc.study.report.quantities import in_order, number, padded
from qbnnc.study.report.sensitivity import increase
from qbnnc.study.report.study import Statistic, Study, statistic
from qbnnc.study.sweep.rows import Header, Result, Shifted
from qbnnc.support.text import human_bytes


def table(caption: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> Markup:
    """A table that scrolls in its box; the first cell of a row names it."""
    head = element("tr", *(element("th", text, scope="col") for text in header))
    body = (
        element("tr", element("th", row[0], scope="row"), *(element("td", c) for c in row[1:]))
        for row in rows
    )
    # the text stays in view while the table below it scrolls
    title = element("caption", element("span", caption))
    inner = (title, element("thead", head), element("tbody", *body))
    return element(
        "div",
        element("table", *inner),
        class_="scroll", tabindex="0", role="region", aria_label=caption,
    )  # fmt: skip


def results_table(study: Study) -> Markup:
    """A row for each configuration: mean ± standard deviation of every metric."""
    results = [r for group in study.groups.values() for r in group]
    metrics = in_order(key for r in results for key in r.metrics)
    confusion = in_order(key for r in results for key in r.ood or {})
    sizes = list(dict.fromkeys(key for r in results for key in r.sizes))
    header = [
        *("Network", "Configuration", "Seeds"),
        *(q.label for q in metrics),
        *(f"Confusion data: {q.label}" for q in confusion),
        *(f".{key} file" for key in sizes),
    ]
    rows = (
        [
            *(c.network.label, c.label),
            str(len(study.groups[c])),
            *(_cell(study.statistic(c, q.key), q.factor) for q in metrics),
            *(_cell(study.confusion(c, q.key), q.factor) for q in confusion),
            *(_size(study.groups[c], key) for key in sizes),
        ]
        for c in study.groups
    )
    return table("Mean ± standard deviation over the seeds", header, rows)


def runs_table(study: Study) -> Markup:
    """A row for each result."""
    results = [(c, r) for c, group in study.groups.items() for r in group]
    metrics = in_order(key for _, r in results for key in r.metrics)
    header = ["Network", "Configuration", "Seed", "Samples", *(q.label for q in metrics), "Seconds"]
    rows = (
        [
            *(c.network.label, c.label, str(r.seed), str(r.samples)),
            *(padded(r.metrics[q.key] * q.factor) if q.key in r.metrics else "" for q in metrics),
            f"{r.seconds:.1f}",
        ]
        for c, r in results
    )
    return table("Every result", header, rows)


def shifts_table(study: Study) -> Markup:
    """A row for each configuration and shift."""
    results = [r for group in study.groups.values() for r in group]
    metrics = in_order(key for r in results for s in r.shifts for key in s.metrics)
    header = ["Network", "Configuration", "Shift", "Amount", *(q.label for q in metrics)]
    rows = (
        [
            *(c.network.label, c.label, kind, number(amount)),
            *(_cell(statistic(s.metrics.get(q.key) for s in same), q.factor) for q in metrics),
        ]
        for c, group in study.groups.items()
        for (kind, amount), same in _by_shift(group).items()
    )
    return table("Shifted test data: mean ± standard deviation over the seeds", header, rows)


def failures_table(study: Study) -> Markup:
    """What could not be computed, and why."""
    rows = ([c.network.label, c.label, str(r.seed), r.error or ""] for c, r in study.failures)
    header = ("Network", "Configuration", "Seed", "What went wrong")
    return table("Configurations without a result", header, rows)


def sensitivity_table(study: Study) -> Markup:
    """A row for each layer at other bits: metrics, and their increase over the baseline."""
    metrics = in_order(key for s in study.sensitivities for key in s.metrics)
    header = ["Layer", "Network", "Bits"]
    header += [text for q in metrics for text in (q.label, q.increase)]
    rows = (
        [
            *(s.layer, s.network, f"w{s.weights}a{s.activations}"),
            *(
                padded(value)
                for q in metrics
                for value in (s.metrics.get(q.key, math.nan) * q.factor, increase(s, q))
            ),
        ]
        for s in study.sensitivities
    )
    return table("One layer at other bits, the others at the base bits", header, rows)


def provenance(headers: Iterable[Header]) -> Iterator[Markup]:
    """For each study its configuration, data and versions, as a list of terms."""
    for h in headers:
        terms = {
            "Study": h.name, "Method": h.method, "Task": h.task.value,
            "Digest of the configuration": h.digest,
            **{f"Data: {k}": v for k, v in h.data.items()}, **h.created_with,
        }  # fmt: skip
        pairs = ((element("dt", k), element("dd", v)) for k, v in terms.items())
        yield element("dl", *(item for pair in pairs for item in pair))


def _by_shift(results: Iterable[Result]) -> dict[tuple[str, float], list[Shifted]]:
    found: dict[tuple[str, float], list[Shifted]] = {}
    for shifted in (s for r in results for s in r.shifts):
        found.setdefault((shifted.shift, shifted.amount), []).append(shifted)
    return found


def _cell(measured: Statistic | None, factor: float) -> str:
    if measured is None:
        return ""
    shown = measured.times(factor)
    spread = "" if shown.deviation is None else f" ± {padded(shown.deviation, 2)}"
    return padded(shown.mean) + spread


def _size(results: Iterable[Result], key: str) -> str:
    sizes = [r.sizes[key] for r in results if key in r.sizes]
    return human_bytes(round(sum(sizes) / len(sizes))) if sizes else ""
