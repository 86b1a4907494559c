"""The panels of a regression: coverage of intervals, the intervals, transforms of targets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from qbnnc.evaluation.plots.canvas import INK
from qbnnc.evaluation.plots.curves import (
    Z90,
    coverage,
    integral_transform,
    spread_rows,
    standardised,
)
from qbnnc.evaluation.plots.series import Panel, Series, diagonal, histograms
from qbnnc.runtime.metrics import Float64

_SHOWN = 40
_NOMINAL = np.linspace(0, 1, 41)
_TENTHS = np.linspace(0, 1, 11)


def panels(models: Sequence[Series]) -> Sequence[Panel]:
    """The panels; with out-of-distribution inputs one more."""
    more = any(model.rows.unknown is not None for model in models)
    return (intervals_coverage, intervals, transforms, *[deviations] * more)


def intervals_coverage(axes: Axes, models: Sequence[Series]) -> None:
    """Observed against nominal coverage of central intervals."""
    diagonal(axes)
    for model in models:
        look, pit = model.look, integral_transform(standardised(*_moments(model)))
        axes.plot(
            _NOMINAL, coverage(pit, _NOMINAL),
            color=look.colour, linestyle=look.dash, label=look.label,
        )  # fmt: skip
    axes.set_title("Coverage of intervals")
    axes.set_xlabel("Nominal coverage, %")
    axes.set_ylabel("Targets inside, %")


def intervals(axes: Axes, models: Sequence[Series]) -> None:
    """Predictions of the last model with 90 % intervals, beside the targets in their order.

    Of more than 40 rows, 40 at even distances are drawn. A float reference has points alone.
    """
    targets = _moments(models[-1])[2]
    order = np.argsort(targets, kind="stable")
    rows = order[spread_rows(len(order), _SHOWN)]
    places = np.arange(len(rows))
    for number, model in enumerate(models):
        mean, variance, _ = _moments(model)
        look, last = model.look, number == len(models) - 1
        half = Z90 * np.sqrt(variance[rows]) if last else np.zeros(len(rows))
        fine = np.isfinite(half) & (half < 1e100) & (np.abs(mean[rows]) < 1e100)
        axes.errorbar(
            places[fine], mean[rows][fine], half[fine] if last else None, label=look.label,
            color=look.colour, marker=look.marker, linestyle="none", markersize=4, elinewidth=1.2,
            zorder=2 if last else 3,
        )  # fmt: skip
    shown = np.abs(targets[rows]) < 1e100
    axes.plot(places[shown], targets[rows][shown], color=INK, linewidth=1.2, label="targets")
    axes.set_title("Intervals of 90 %")
    axes.set_xlabel(f"Rows in the order of their targets ({len(rows)} of {len(order)})")
    axes.set_ylabel("Target, units of y")


def transforms(axes: Axes, models: Sequence[Series]) -> None:
    """Histograms of the probability integral transform; flat if the spreads are right."""
    for model in models:
        look, pit = model.look, integral_transform(standardised(*_moments(model)))
        density = np.histogram(pit, _TENTHS)[0] * (len(_TENTHS) - 1) / len(pit)
        axes.stairs(density, _TENTHS, color=look.colour, linestyle=look.dash, label=look.label)
    axes.axhline(1, color=INK, linewidth=0.8, alpha=0.6)
    axes.set_xlim(0, 1)
    axes.set_ylim(bottom=0)
    axes.set_title("Probability integral transform")
    axes.set_xlabel("Predicted probability of a lower target")
    axes.set_ylabel("Density (1 if calibrated)")


def deviations(axes: Axes, models: Sequence[Series]) -> None:
    """Epistemic standard deviations of the data, and of out-of-distribution inputs."""
    histograms(
        axes,
        [
            (
                model,
                model.rows.epistemic * model.scores.units.std,
                None if model.rows.unknown is None else model.rows.unknown * model.scores.units.std,
            )
            for model in models
        ],
    )
    axes.set_title("Spread (filled: OOD)")
    axes.set_xlabel("Epistemic standard deviation, units of y")


def _moments(model: Series) -> tuple[Float64, Float64, Float64]:
    """Mean, variance and targets, each [N], in the user's units."""
    mean, variance = model.rows.predicted
    units, truth = model.scores.units, np.asarray(model.scores.truth, np.float64)
    made = units.value(mean), units.variance(variance), units.value(truth)
    return made[0].reshape(-1), made[1].reshape(-1), made[2].reshape(-1)
