"""Calibration curves, and entropies of test and out-of-distribution data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from matplotlib.axes import Axes

from qbnnc.study.report.drawing import (
    BLUE,
    INK,
    VERMILION,
    Figure,
    Image,
    Look,
    image,
    shortened,
)
from qbnnc.study.report.grouping import Configuration, Grouped, Network, precision_name
from qbnnc.study.report.metrics import number
from qbnnc.study.results import Bin, Entropies, Precision, Result

_HEIGHT: Final = 3.75
_DATA: Final = {
    "test data": Look(BLUE, "", Precision.QAT),
    "out-of-distribution data": Look(VERMILION, "", Precision.PTQ),
}


def calibration_figures(grouped: Grouped) -> Iterator[Figure]:
    """A panel for each network: float, the most and the fewest bits. No figure without curves."""
    panels: list[Image] = []
    legend: dict[str, Look] = {}
    labels: list[str] = []
    for network in grouped.networks:
        if chosen := grouped.extremes(network, lambda r: r.calibration is not None):
            entries = [_entry(c, chosen) for c in chosen]
            legend |= dict(entries)
            labels += [c.label for c in chosen if c.bits]
            bins = [_pooled_bins(grouped.groups[c]) for c in chosen]
            looks = [look for _, look in entries]
            panels.append(_calibration(network.label, [c.label for c in chosen], looks, bins))
    if panels:
        caption = (
            "The grey line is perfect calibration; below it a network is overconfident. Bins of "
            "all seeds are pooled, empty ones left out. "
            f"Most and fewest bits: {', '.join(dict.fromkeys(labels)) or 'none'}."
        )
        yield Figure("Calibration on test data", caption, panels, legend)


def entropy_figures(grouped: Grouped) -> Iterator[Figure]:
    """A panel for each network in float, at the most and (for few networks) the fewest bits."""
    several = len(grouped.networks) > 1
    found = {
        f"{f'{n.label}, ' * several}{c.label}": _pooled_entropies(grouped.groups[c])
        for n in grouped.networks
        for c in _histograms(grouped, n)
    }
    if found:
        caption = (
            "A network that knows what it does not know is certain on test data, to the left, and "
            "uncertain on out-of-distribution data, to the right. Counts of all seeds are added."
        )
        shares = {title: _shares(entropies) for title, entropies in found.items()}
        panels = [_histogram(t, found[t].edges, shares[t]) for t in found]
        present = {d: look for d, look in _DATA.items() if any(d in s for s in shares.values())}
        yield Figure("Predictive entropy", caption, panels, present)


def _calibration(
    title: str, labels: Sequence[str], looks: Sequence[Look], curves: Sequence[Sequence[Bin]]
) -> Image:
    """Accuracy against confidence, a line for each configuration."""

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color="#9a9a9a", linewidth=1)
        for look, bins in zip(looks, curves, strict=True):
            axes.plot(
                [b.confidence for b in bins], [b.accuracy for b in bins], color=look.colour,
                linestyle=look.dash, marker=look.marker, markersize=5, clip_on=False,
                markerfacecolor=look.face,
            )  # fmt: skip
        axes.set_title(shortened(title, 32))
        axes.set_xlabel("Confidence")
        axes.set_ylabel("Accuracy")
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        axes.set_aspect("equal")

    lines = (
        f"{label}: " + ", ".join(f"{b.confidence:.2f}: {b.accuracy:.2f}" for b in bins)
        for label, bins in zip(labels, curves, strict=True)
    )
    return image(draw, f"{title}. Accuracy against confidence. {'; '.join(lines)}", _HEIGHT)


def _histogram(title: str, edges: Sequence[float], shares: Mapping[str, Sequence[float]]) -> Image:
    """Shares of rows by predictive entropy, in %."""

    def draw(axes: Axes) -> None:
        for data, values in shares.items():
            colour, dash = _DATA[data].colour, _DATA[data].dash
            axes.stairs(values, edges, fill=True, color=colour, alpha=0.2)
            axes.stairs(values, edges, color=colour, linestyle=dash, linewidth=1.8, baseline=None)
        axes.set_title(shortened(title, 32))
        axes.set_xlabel("Predictive entropy, nats")
        axes.set_ylabel("Share of rows, %")
        axes.set_xlim(edges[0], edges[-1])
        axes.set_ylim(bottom=0)

    texts = (f"{d} {', '.join(number(v, 2) for v in values)}" for d, values in shares.items())
    return image(draw, f"{title}. Share of rows in %, by predictive entropy: {'; '.join(texts)}")


def _entry(c: Configuration, chosen: Sequence[Configuration]) -> tuple[str, Look]:
    """The legend's text and the look; `chosen` has a precision's most bits before its fewest."""
    if c.precision is Precision.FLOAT:
        return "float", Look(INK, "o", c.precision)
    name = precision_name(c.precision)
    if c == next(other for other in chosen if other.precision is c.precision):
        return f"{name}, most bits", Look(BLUE, "s", c.precision)
    return f"{name}, fewest bits", Look(VERMILION, "D", c.precision)


def _histograms(grouped: Grouped, network: Network) -> list[Configuration]:
    found = grouped.extremes(network, lambda r: r.entropy is not None)
    if len(grouped.networks) <= 2:
        return found
    return list({c.precision: c for c in reversed(found)}.values())[::-1]


def _pooled_bins(results: Iterable[Result]) -> list[Bin]:
    """Bin by bin over the seeds, means weighted by the counts; without empty bins."""
    curves = [r.calibration for r in results if r.calibration is not None]
    pooled = []
    for i in range(max(map(len, curves))):
        full = [c[i] for c in curves if i < len(c) and c[i].count > 0]
        if count := sum(b.count for b in full):
            confidence = sum(b.count * b.confidence for b in full) / count
            pooled.append(Bin(count, confidence, sum(b.count * b.accuracy for b in full) / count))
    return pooled


def _pooled_entropies(results: Iterable[Result]) -> Entropies:
    """Counts added over the seeds that have the first one's edges."""
    every = [r.entropy for r in results if r.entropy is not None]
    same = [e for e in every if e.edges == every[0].edges]
    oods = [e.ood for e in same if e.ood is not None]
    test = tuple(map(sum, zip(*(e.test for e in same), strict=True)))
    return Entropies(every[0].edges, test, tuple(map(sum, zip(*oods, strict=True))) or None)


def _shares(entropies: Entropies) -> dict[str, list[float]]:
    """Shares of rows in %, for each kind of data that there is."""
    counts = dict(zip(_DATA, (entropies.test, entropies.ood), strict=True))
    return {data: [100 * n / (sum(c) or 1) for n in c] for data, c in counts.items() if c}
