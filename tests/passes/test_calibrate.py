"""Calibration: which values are observed, and what of them."""

from __future__ import annotations

import numpy as np
import pytest

from qbnnc.ir.errors import CompileError
from qbnnc.ir.evaluate import evaluate
from qbnnc.ir.graph import Value
from qbnnc.ir.rng import Draw
from qbnnc.ir.types import Array
from qbnnc.passes.calibrate import Calibration, Observer, calibrate
from qbnnc.passes.sites import quantised_sites
from tests.graphs import inputs, lenet, mlp, resnet
from tests.net import Net


def test_sites_are_the_input_and_the_layers_after_their_clamps() -> None:
    names = [site.value.name for site in quantised_sites(lenet())]
    assert names == ["input", "relu1", "relu2", "relu3"]


def test_residual_sums_and_pools_are_sites_and_last_layers_are_not() -> None:
    names = [site.value.name for site in quantised_sites(resnet())]
    assert "block1.relu2" in names
    assert "pool" in names
    assert "fc" not in names


def test_preprocessing_makes_the_site_of_the_input() -> None:
    scale = np.array(0.5, np.float32)
    net = Net((4,)).affine(scale, scale, "normalise").linear(3, "fc")
    assert [s.value.name for s in quantised_sites(net.graph())] == ["normalise"]


def test_minmax_sees_every_stochastic_pass() -> None:
    graph, x = mlp(p=0.5), inputs(mlp(), rows=70)
    found = calibrate(graph, x, Calibration(passes=3, seed=5))
    seen: list[Array] = []

    def observe(value: Value, array: Array) -> None:
        if value.name == "relu2":
            seen.append(array)

    for number in range(3):
        for start in (0, 64):
            part = x[start : start + 64]
            draw = Draw.of(5, [number], range(start, start + len(part)))
            evaluate(graph, part, draw, observe)
    assert found["relu2"] == (
        min(float(a.min()) for a in seen),
        max(float(a.max()) for a in seen),
    )
    assert len({float(a.max()) for a in seen}) > 1


def test_ema_is_inside_minmax() -> None:
    graph, x = mlp(), inputs(mlp(), rows=200)
    wide = calibrate(graph, x, Calibration(passes=2))
    narrow = calibrate(graph, x, Calibration(Observer.EMA, passes=2))
    assert narrow["relu1"][1] < wide["relu1"][1]
    assert wide["relu1"][0] <= narrow["relu1"][0]


def test_the_seed_decides_the_ranges() -> None:
    graph, x = mlp(p=0.5), inputs(mlp(), rows=20)
    first = calibrate(graph, x, Calibration(seed=1))
    assert first == calibrate(graph, x, Calibration(seed=1))
    assert first != calibrate(graph, x, Calibration(seed=2))


def test_progress_ends_at_the_total() -> None:
    told: list[tuple[int, int]] = []
    calibrate(mlp(), inputs(mlp(), 130), Calibration(passes=2), lambda a, b: told.append((a, b)))
    assert told == [(i, 6) for i in range(1, 7)]


def test_an_overflow_is_told_at_the_layer() -> None:
    with pytest.raises(CompileError, match=r"relu1 \(net\.py:1\): .*NaN or infinite"):
        calibrate(mlp(), np.full((2, 10), 3e38, np.float32), Calibration())


def test_nan_in_a_later_batch_is_not_lost() -> None:
    net = Net((1,)).linear(1, "fc").relu("relu")
    x = np.ones((70, 1), np.float32)
    x[69] = np.nan
    with pytest.raises(CompileError, match="NaN"):
        calibrate(net.linear(1, "last").graph(), x, Calibration())
