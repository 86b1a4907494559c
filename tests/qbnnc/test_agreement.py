"""The measures of `qbnnc verify --source`, against numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from qbnnc.verification.agreement import (
    Agreement,
    Limits,
    agreements,
    probabilities,
    rank_correlation,
)


def of(module: list[list[float]], artefact: list[list[float]], name: str = "y") -> Agreement:
    """Samples [L][B] of one number a row."""
    (found,) = agreements(*({name: np.array(a, float)[:, :, None]} for a in (module, artefact)))
    return found


def test_by_hand() -> None:
    """The module has means 0, 0 and deviations 1, 2. The artefact has .5, .5 and 2, 4."""
    found = of([[-1, -2], [1, 2]], [[-1.5, -3.5], [2.5, 4.5]])
    assert found.mean_shift == pytest.approx(0.5 / math.sqrt(2.5))
    assert found.deviation_ratio == pytest.approx(2)
    assert found.rank_correlation is None
    each = [(0.25 - 1 - math.log(0.25) + (0.5 / t) ** 2) / 2 for t in (2, 4)]
    assert found.divergence == pytest.approx(sum(each) / 2)


def test_classes() -> None:
    p, q = [[[0.75, 0.25]], [[0.25, 0.75]]], [[[0.9, 0.1]], [[0.7, 0.3]]]
    (found,) = agreements({"probabilities": np.array(p)}, {"probabilities": np.array(q)})
    assert found.divergence == pytest.approx(0.5 * math.log(0.5 / 0.8) + 0.5 * math.log(0.5 / 0.2))


def test_what_is_not_defined() -> None:
    """Nothing varies; numbers that are not finite."""
    still = of([[1.0, 2.0]], [[1.0, 2.5]])
    assert (still.mean_shift, still.deviation_ratio, still.divergence) == (None, None, None)
    assert of([[1.0, math.nan]], [[1.0, 2.5]]) == Agreement("y", None, None, None, None)
    limits = Limits(mean_shift=9.0, deviation_ratio=9.0, rank_loss=2.0, divergence=9.0)
    assert [text.split(", and")[0] for text in limits.exceeded(still)] == [
        "y: the mean shift is undefined",
        "y: the deviation ratio is undefined",
        "y: the rank loss is undefined",
        "y: the divergence is undefined",
    ]


def test_limits_hold_on_both_sides() -> None:
    half = Agreement("y", 0.1, 0.5, 0.9, 0.01)
    assert not Limits(0.1, 2.0, 0.11, 0.01).exceeded(half)
    assert Limits(deviation_ratio=1.9).exceeded(half) == [
        "y: the deviation ratio is 2, and 1.9 is the limit"
    ]
    assert Limits(rank_loss=0.05).exceeded(half)
    assert Limits(deviation_ratio=5.0).exceeded(Agreement("y", 0.1, 0.0, 0.9, 0.01))


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([1, 2, 3, 4], [10, 20, 30, 40], 1.0),
        ([1, 2, 3, 4], [4, 3, 2, 1], -1.0),
        ([1, 2, 3, 4, 5], [2, 1, 4, 3, 5], 0.8),  # 1 - 6*4/(5*24)
        ([1, 1, 2], [5, 6, 7], math.sqrt(3) / 2),  # ranks .5, .5, 2
        ([1, 1, 1], [5, 6, 7], None),
        ([1, 2], [5, 6], None),
    ],
)
def test_rank_correlation(a: list[float], b: list[float], expected: float | None) -> None:
    found = rank_correlation(np.array(a, float), np.array(b, float))
    assert found == (expected if expected is None else pytest.approx(expected))


def test_probabilities_of_one_logit() -> None:
    made = probabilities(np.array([[[0.0]], [[math.log(3)]]]))
    np.testing.assert_allclose(made, [[[0.5, 0.5]], [[0.25, 0.75]]])
