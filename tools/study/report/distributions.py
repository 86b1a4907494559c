"""Calibration curves, and entropies of test against confusion data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from matplotlib.axes import Axes

from qbnnc.study.report.canvas import panel, shortened
from qbnnc.study.report.figures import Figure
from qbnnc.study.report.looks import BLUE, INK, VERMILION, Look, of
from qbnnc.study.report.markup import Markup
from qbnnc.study.report.quantities import number
from qbnnc.study.report.study import Configuration, Network, Study, precision_name
from qbnnc.study.sweep.rows import Bin, Entropies, Precision, Result

_HEIGHT: Final = 3.75
_FLOAT, _MOST, _FEWEST = of(INK, "o", Precision.FLOAT), (BLUE, "s"), (VERMILION, "D")
_TEST, _CONFUSION = of(BLUE, "", Precision.QAT), of(VERMILION, "", Precision.PTQ)


@dataclass(frozen=True, slots=True)
class Calibration:
    """Accuracy against confidence of one network, a line for each of its configurations."""

    title: str
    lines: tuple[tuple[str, Look, tuple[Bin, ...]], ...]

    def markup(self, name: str) -> Markup:
        return panel(self._draw, self._description(), name, _HEIGHT)

    def _description(self) -> str:
        lines = (
            f"{name}: " + ", ".join(f"{b.confidence:.2f}: {b.accuracy:.2f}" for b in bins)
            for name, _, bins in self.lines
        )
        return f"{self.title}. Accuracy against confidence. " + "; ".join(lines)

    def _draw(self, axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color="#9a9a9a", linewidth=1)
        for _, look, bins in self.lines:
            axes.plot(
                [b.confidence for b in bins], [b.accuracy for b in bins], color=look.colour,
                linestyle=look.dash, marker=look.marker, markersize=5, clip_on=False,
                markerfacecolor=look.colour if look.filled else "white",
            )  # fmt: skip
        axes.set_title(shortened(self.title, 32))
        axes.set_xlabel("Confidence")
        axes.set_ylabel("Accuracy")
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        axes.set_aspect("equal")


@dataclass(frozen=True, slots=True)
class Histogram:
    """Shares of rows by predictive entropy, of test and of confusion data."""

    title: str
    entropies: Entropies

    def markup(self, name: str) -> Markup:
        return panel(self._draw, self._description(), name)

    def _description(self) -> str:
        texts = [f"test data {_shares_text(self.entropies.test)}"]
        if self.entropies.ood is not None:
            texts.append(f"confusion data {_shares_text(self.entropies.ood)}")
        return f"{self.title}. Share of rows in %, by predictive entropy: " + "; ".join(texts)

    def _draw(self, axes: Axes) -> None:
        edges = self.entropies.edges
        for look, counts in ((_TEST, self.entropies.test), (_CONFUSION, self.entropies.ood)):
            if counts is not None:
                shares = _shares(counts)
                axes.stairs(shares, edges, fill=True, color=look.colour, alpha=0.2)
                axes.stairs(
                    shares, edges, color=look.colour, linestyle=look.dash, linewidth=1.8,
                    baseline=None,
                )  # fmt: skip
        axes.set_title(shortened(self.title, 32))
        axes.set_xlabel("Predictive entropy, nats")
        axes.set_ylabel("Share of rows, %")
        axes.set_xlim(edges[0], edges[-1])
        axes.set_ylim(bottom=0)


def calibration_figure(study: Study) -> Iterator[Figure]:
    """A panel for each network: float, the most and the fewest bits. Nothing without curves."""
    chosen = {n: study.extremes(n, lambda r: r.calibration is not None) for n in study.networks}
    panels = [_calibration(study, n, found) for n, found in chosen.items() if found]
    if panels:
        caption = (
            "The grey line is perfect calibration; below it a network is overconfident. Bins of "
            "all seeds are pooled, empty ones left out. "
            f"Most and fewest bits: {_listed(c for found in chosen.values() for c in found)}."
        )
        yield Figure("Calibration on test data", caption, panels, _looks(chosen.values()))


def entropy_figure(study: Study) -> Iterator[Figure]:
    """A panel for each network with float, the most and (of few networks) the fewest bits."""
    panels = [
        Histogram(f"{_short_title(study, n)}{c.label}", pooled)
        for n in study.networks
        for c in _histograms(study, n)
        if (pooled := _pooled_entropies(study.groups[c]))
    ]
    if panels:
        caption = (
            "A network that knows what it does not know is certain on test data, to the left, and "
            "uncertain on confusion data, to the right. Counts of all seeds are added."
        )
        looks = {"test data": _TEST}
        if any(p.entropies.ood is not None for p in panels):
            looks["confusion data"] = _CONFUSION
        yield Figure("Predictive entropy", caption, panels, looks)


def _histograms(study: Study, network: Network) -> list[Configuration]:
    found = study.extremes(network, lambda r: r.entropy is not None)
    if len(study.networks) <= 2:
        return found
    return list({c.precision: c for c in reversed(found)}.values())[::-1]


def _calibration(study: Study, network: Network, found: Sequence[Configuration]) -> Calibration:
    lines = ((c.label, _look(c, found), _pooled_bins(study.groups[c])) for c in found)
    return Calibration(network.label, tuple(lines))


def _look(c: Configuration, found: Sequence[Configuration]) -> Look:
    """`found` has the most bits of a precision before the fewest."""
    if c.precision is Precision.FLOAT:
        return _FLOAT
    first = next(other for other in found if other.precision is c.precision)
    return of(*(_MOST if c == first else _FEWEST), c.precision)


def _looks(chosen: Iterable[Sequence[Configuration]]) -> dict[str, Look]:
    entries: dict[str, Look] = {}
    for found in chosen:
        for c in found:
            look = _look(c, found)
            kind = {BLUE: ", most bits", VERMILION: ", fewest bits"}.get(look.colour, "")
            entries[precision_name(c.precision) + kind] = look
    return entries


def _listed(chosen: Iterable[Configuration]) -> str:
    return ", ".join(dict.fromkeys(c.label for c in chosen if c.bits)) or "none"


def _short_title(study: Study, network: Network) -> str:
    return f"{network.label}, " if len(study.networks) > 1 else ""


def _pooled_bins(results: Iterable[Result]) -> tuple[Bin, ...]:
    """Bin by bin over the seeds, means weighted by the counts; without empty bins."""
    curves = [r.calibration for r in results if r.calibration is not None]
    pooled = (_pool([c[i] for c in curves if i < len(c)]) for i in range(max(map(len, curves))))
    return tuple(b for b in pooled if b.count)


def _pool(bins: Iterable[Bin]) -> Bin:
    full = [b for b in bins if b.count > 0]
    count = sum(b.count for b in full)
    means = (sum(b.count * v for b, v in pairs) / (count or 1) for pairs in _values(full))
    return Bin(count, *means)


def _values(bins: Sequence[Bin]) -> tuple[list[tuple[Bin, float]], list[tuple[Bin, float]]]:
    return [(b, b.confidence) for b in bins], [(b, b.accuracy) for b in bins]


def _pooled_entropies(results: Iterable[Result]) -> Entropies | None:
    """Counts added over the seeds that have the first one's edges."""
    every = [r.entropy for r in results if r.entropy is not None]
    same = [e for e in every if e.edges == every[0].edges]
    oods = [e.ood for e in same if e.ood is not None]
    test = tuple(map(sum, zip(*(e.test for e in same), strict=True)))
    return Entropies(every[0].edges, test, tuple(map(sum, zip(*oods, strict=True))) or None)


def _shares(counts: Sequence[int]) -> list[float]:
    total = sum(counts) or 1
    return [100 * c / total for c in counts]


def _shares_text(counts: Sequence[int]) -> str:
    return ", ".join(number(share, 2) for share in _shares(counts))
