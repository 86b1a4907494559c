"""The panels of a classification: calibration, confidence and its counts, entropies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from qbnnc.evaluation.plots.curves import kept_accuracy
from qbnnc.evaluation.plots.series import Panel, Series, diagonal, histograms
from qbnnc.runtime.metrics import entropy


def panels(models: Sequence[Series]) -> Sequence[Panel]:
    """The panels, whatever data there are."""
    return reliability, kept, entropies


def reliability(axes: Axes, models: Sequence[Series]) -> None:
    """Accuracy against confidence, over bars of the counts in each bin."""
    diagonal(axes)
    width = 1 / len(models[0].scores.calibration)
    bar = 0.8 * width / len(models)
    most = max(one.count for model in models for one in model.scores.calibration)
    for number, model in enumerate(models):
        look, filled = model.look, [one for one in model.scores.calibration if one.count]
        axes.plot(
            [one.confidence for one in filled], [one.accuracy for one in filled],
            color=look.colour, linestyle=look.dash, marker=look.marker, label=look.label,
        )  # fmt: skip
        left = -0.4 * width + bar * (number + 0.5)
        axes.bar(
            [(one.low + one.high) / 2 + left for one in filled],
            [0.25 * one.count / most for one in filled],
            bar, color=look.colour, alpha=0.35, zorder=0.5,
        )  # fmt: skip
    axes.annotate(f"bars: rows, up to {most} in a bin", (0.03, 0.93), fontsize=10)
    axes.set_title("Calibration")
    axes.set_xlabel("Confidence, %")
    axes.set_ylabel("Accuracy, %")


def kept(axes: Axes, models: Sequence[Series]) -> None:
    """Accuracy among the most confident rows, against how many are kept."""
    lowest = 1.0
    for model in models:
        (p,) = model.rows.predicted
        share, accuracy = kept_accuracy(p, np.asarray(model.scores.truth, np.int64).reshape(-1))
        look = model.look
        axes.plot(share, accuracy, color=look.colour, linestyle=look.dash, label=look.label)
        lowest = min(lowest, float(accuracy[share >= 0.02].min()))
    axes.set_xlim(0, 1)
    axes.set_ylim(max(0.0, lowest - 0.05), 1.005)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1, symbol=""))
    axes.set_title("Confidence and accuracy")
    axes.set_xlabel("Most confident rows that are kept, %")
    axes.set_ylabel("Accuracy among them, %")


def entropies(axes: Axes, models: Sequence[Series]) -> None:
    """Predictive entropies of the data, and of out-of-distribution inputs if they are given."""
    histograms(
        axes, [(model, entropy(model.rows.predicted[0]), model.rows.unknown) for model in models]
    )
    known = all(model.rows.unknown is None for model in models)
    axes.set_title("Entropies" if known else "Entropies (filled: OOD)")
    axes.set_xlabel("Predictive entropy, nats")
