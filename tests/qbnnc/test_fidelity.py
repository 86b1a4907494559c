"""Uncertainties compared with those of the float network, row by row."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from qbnnc.evaluation.fidelity import compared, with_fidelity, with_noise
from qbnnc.evaluation.score import Rows, Scores
from qbnnc.ir.head import Task

Float64 = NDArray[np.float64]
ONE, TWO = np.array([[0.9, 0.1], [0.5, 0.5]]), np.array([[0.8, 0.2], [0.5, 0.5]])


def gaussian(mean: Float64, std: Float64) -> Rows:
    return Rows((mean, std**2), std)


def scores(*rows: Rows) -> Scores:
    seeds = tuple(range(len(rows)))
    return Scores(Task.CLASSIFICATION, 2, 20, True, seeds, {}, rows_of_seeds=rows)


def test_of_classes_by_hand() -> None:
    found = compared(Rows((ONE,), np.array([0.1, 0.3])), Rows((TWO,), np.array([0.4, 0.2])))
    kl = (0.9 * np.log(0.9 / 0.8) + 0.1 * np.log(0.1 / 0.2)) / 2
    assert found == pytest.approx({"kl": kl, "rank": -1, "spread": 0.3 / 0.2})


def test_of_a_regression_by_hand() -> None:
    """A spread of twice the size, in the same order: KL of N(0, 1) and N(0, 4), and so on."""
    std = np.array([1.0, 2.0, 3.0])
    found = compared(gaussian(np.zeros(3), std), gaussian(np.zeros(3), 2 * std))
    assert found["kl"] == pytest.approx(np.log(2) + 1 / 8 - 1 / 2, abs=1e-5)
    assert found["rank"] == 1
    assert found["spread"] == 2


def test_what_is_undefined_is_left_out() -> None:
    """Nothing is random in float: there is no order, and no spread to compare with."""
    quiet, loud = gaussian(np.zeros(2), np.zeros(2)), gaussian(np.zeros(2), np.array([1.0, 2.0]))
    assert set(compared(quiet, loud)) == {"kl"}
    assert set(compared(loud, quiet)) == {"kl", "spread"}


def test_seed_by_seed() -> None:
    first, second = Rows((ONE,), np.array([0.1, 0.3])), Rows((TWO,), np.array([0.2, 0.1]))
    both = with_fidelity(scores(first, second), scores(first, second)).measures
    assert both["kl"].mean == 0
    assert both["rank"].mean == both["spread"].mean == 1
    one = with_fidelity(scores(first, second), scores(first)).measures
    assert one["rank"].mean == pytest.approx((1 - 1) / 2)


def test_the_noise_of_few_samples() -> None:
    first, second = Rows((ONE,), np.array([0.1, 0.3])), Rows((TWO,), np.array([0.2, 0.1]))
    assert with_noise(scores(first, second)).measures["rank"].mean == -1
    assert with_noise(scores(first)).measures == {}
    assert replace(scores(first), rows_of_seeds=()) == scores(first)
