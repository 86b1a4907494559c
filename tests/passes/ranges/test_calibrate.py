"""Calibration: which values are observed, and what of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from qbnnc.ir.evaluate import evaluate
from qbnnc.ir.graph import Value
from qbnnc.ir.ops import FakeQuantize, Function
from qbnnc.ir.rng import Draw
from qbnnc.ir.scales import activation_quant
from qbnnc.ir.types import Array
from qbnnc.passes.options import Bits, Quantisation, Scales
from qbnnc.passes.ranges.calibrate import Calibration, Observer, calibrate
from qbnnc.passes.ranges.quantisation_points import quantisation_points
from qbnnc.support.errors import CompileError
from tests.graphs import dense, inputs, lenet, mlp, resnet
from tests.net import Net


def test_sites_are_the_input_and_the_layers_after_their_clamps() -> None:
    names = [point.value.name for point in quantisation_points(lenet())]
    assert names == ["input", "relu1", "relu2", "relu3"]


def test_residual_sums_and_pools_are_sites_and_last_layers_are_not() -> None:
    names = [point.value.name for point in quantisation_points(resnet())]
    assert "block1.relu2" in names
    assert "pool" in names
    assert "fc" not in names


def test_preprocessing_makes_the_site_of_the_input() -> None:
    scale = np.array(0.5, np.float32)
    net = Net((4,)).affine(scale, scale, "normalise").linear(3, "fc")
    assert [s.value.name for s in quantisation_points(net.graph())] == ["normalise"]


def test_minmax_sees_every_stochastic_pass() -> None:
    graph, x = mlp(p=0.5), inputs(mlp(), rows=70)
    found = calibrate(graph, x, Calibration(Observer.MINMAX, passes=3, seed=5))
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


def test_the_first_row_counts() -> None:
    x = inputs(mlp(), rows=70)
    x[0, 0] = -99.0
    assert calibrate(mlp(), x, Calibration(Observer.MINMAX))["input"][0] == -99.0


def test_ema_is_inside_minmax() -> None:
    graph, x = mlp(), inputs(mlp(), rows=200)
    wide = calibrate(graph, x, Calibration(Observer.MINMAX, passes=2))
    narrow = calibrate(graph, x, Calibration(Observer.EMA, passes=2))
    assert narrow["relu1"][1] < wide["relu1"][1]
    assert wide["relu1"][0] <= narrow["relu1"][0]


@pytest.mark.parametrize(
    ("decay", "low", "high"),
    [(None, -1.0 + 0.1 * (-3 + 1), 2.0 + 0.1 * (1 - 2)), (0.25, -1.5, 1.75), (1.0, -3.0, 1.0)],
)
def test_ema_takes_a_part_of_each_new_batch(decay: float | None, low: float, high: float) -> None:
    """Batches of 64 rows: -1..2, then -3..1."""
    graph = Net((2,)).linear(1, "fc").graph()
    x = np.zeros((128, 2), np.float32)
    x[5, 0], x[9, 1], x[70, 1], x[127, 0] = -1, 2, -3, 1
    how = Calibration(Observer.EMA) if decay is None else Calibration(Observer.EMA, decay=decay)
    assert calibrate(graph, x, how)["input"] == pytest.approx((low, high))


def test_the_seed_decides_the_ranges() -> None:
    graph, x = mlp(p=0.5), inputs(mlp(), rows=20)
    first = calibrate(graph, x, Calibration(seed=1))
    assert first == calibrate(graph, x, Calibration(seed=1))
    assert first != calibrate(graph, x, Calibration(seed=2))


def test_progress_ends_at_the_total() -> None:
    told: list[tuple[int, int]] = []
    how = Calibration(Observer.MINMAX, passes=2)
    graph = mlp(p=0.5)
    calibrate(graph, inputs(graph, 130), how, lambda a, b: told.append((a, b)))
    assert told == [(i, 6) for i in range(1, 7)]
    told.clear()
    calibrate(graph, inputs(graph, 130), Calibration(passes=2), lambda a, b: told.append((a, b)))
    assert told == [(i, 10) for i in range(1, 11)]  # 2 batches of 128 stretched rows too


def test_an_overflow_is_told_at_the_layer() -> None:
    with pytest.raises(CompileError, match=r"relu1 \(net\.py:1\): .*NaN or infinite"):
        calibrate(mlp(), np.full((2, 10), 3e38, np.float32), Calibration())


def test_nan_in_a_later_batch_is_not_lost() -> None:
    net = Net((1,)).linear(1, "fc").relu("relu")
    x = np.ones((70, 1), np.float32)
    x[69] = np.nan
    with pytest.raises(CompileError, match="NaN"):
        calibrate(net.linear(1, "last").graph(), x, Calibration())


@pytest.mark.parametrize("pow2", [False, True])
def test_mse_ranges_cost_less_than_those_of_all_values(pow2: bool) -> None:
    """Measured on the values themselves, not on their histograms."""
    graph = lenet()
    shape = (70, *graph.input.type.shape)
    x = np.random.default_rng(0).standard_t(3, shape).astype(np.float32)
    how = Quantisation(Bits(4, 3), scales=Scales.POW2 if pow2 else Scales.FREE)
    ranges = [
        calibrate(graph, x, Calibration(o, passes=2, stretch=1), quantisation=how)
        for o in (Observer.MINMAX, Observer.MSE)
    ]
    costs = {name: [0.0, 0.0] for name in ranges[0]}

    def observe(value: Value, array: Array) -> None:
        for index, known in enumerate(ranges):
            if value.name in known:
                low, high = known[value.name]
                quant = activation_quant(low, high, 3, pow2=pow2)
                codes = FakeQuantize(quant).codes(array)
                real = (codes - quant.zero_point[0]) * quant.scale[0]
                costs[value.name][index] += float(((real - array) ** 2).sum())

    for draw in range(2):
        for part in (slice(0, 64), slice(64, 70)):
            evaluate(graph, x[part], Draw.of(0, [draw], range(70)[part]), observe)
    assert all(clipped <= 1.001 * wide for wide, clipped in costs.values())
    assert sum(c for _, c in costs.values()) < 0.9 * sum(w for w, _ in costs.values())


def test_the_observer_goes_by_bits_unless_it_is_chosen() -> None:
    by_bits, chosen = Calibration(), Calibration(Observer.EMA)
    assert by_bits.activation_observer is Observer.MSE
    assert [by_bits.weight_observer(b).value for b in (4, 5)] == ["mse", "minmax"]
    assert chosen.activation_observer is Observer.EMA
    assert chosen.weight_observer(3) is Observer.MINMAX
    assert Calibration(Observer.MSE).weight_observer(8) is Observer.MSE
    assert Calibration(weights=Observer.MSE).weight_observer(8) is Observer.MSE


def test_a_point_is_clipped_by_its_own_bits() -> None:
    graph, x = mlp(), inputs(mlp(), 130)
    how = Calibration(passes=2, stretch=1)
    wide = calibrate(graph, x, how)
    found = calibrate(graph, x, how, None, Quantisation(layers={"fc1": Bits(8, 3)}))
    assert {name for name in wide if wide[name] != found[name]} == {"relu1"}
    assert found["relu1"][1] < wide["relu1"][1]


def test_ranges_of_least_error_do_not_grow_with_the_extremes_of_more_rows() -> None:
    """16 times as many rows of a heavy-tailed law: their extremes grow, the best range hardly."""
    graph = Net((4,)).linear(1, "fc").graph()
    x = np.random.default_rng(1).standard_t(3, (16000, 4)).astype(np.float32)
    sizes: dict[Observer, list[float]] = {}
    for observer in (Observer.MINMAX, Observer.MSE):
        for rows in (x[:1000], x):
            low, high = calibrate(graph, rows, Calibration(observer, stretch=1))["input"]
            sizes.setdefault(observer, []).append(high - low)
    (few, many), (clipped, again) = sizes.values()
    assert many > 1.7 * few
    assert again < 1.6 * clipped


def test_stretched_rows_keep_room_and_no_more_than_their_factor() -> None:
    """Numbers of -1..1 in equal parts: 8 bits clip none of them."""
    graph = Net((2,)).linear(1, "fc").graph()
    x = np.linspace(-1, 1, 256, dtype=np.float32).reshape(128, 2)
    near, far = (
        calibrate(graph, x, Calibration(stretch=s), quantisation=Quantisation(input_bits=8))
        for s in (1.0, 2.0)
    )
    assert near["input"] == pytest.approx((-1, 1), rel=0.03)
    assert far["input"] == pytest.approx((-2, 2), rel=0.03)
    tail = calibrate(graph, np.append(x, [[50, 50]], axis=0).astype(np.float32), Calibration())
    assert tail["input"][1] <= 75


def test_a_function_is_asked_for_calibration_rows_alone() -> None:
    """log(x + 1) for x above -0.8: stretched rows would leave its domain."""
    x = np.linspace(-0.8, 2, 64, dtype=np.float32).reshape(32, 2)
    one = np.ones((2,), np.float32)
    net = Net((2,)).affine(one, one, "shift").unary(Function.LOG, "log")
    found = calibrate(net.linear(1, "fc").graph(), x, Calibration(stretch=3))
    assert np.isfinite(found["log"]).all()


def test_values_that_are_joined_are_clipped_together() -> None:
    graph, options = dense(), Quantisation(Bits(8, 3))
    found = calibrate(graph, inputs(graph, 40), Calibration(), quantisation=options)
    points = quantisation_points(graph)
    assert any(point.group is not point.value for point in points)
    for point in points:
        assert found[point.value.name] == found[point.group.name]


def test_a_value_that_is_always_zero_or_hardly_varies_has_a_range() -> None:
    net = Net((2,)).linear(3, "fc").relu("relu")
    graph = net.linear(1, "last").graph()
    constants = {v: np.zeros_like(a) for v, a in graph.constants.items()}
    dead = replace(graph, constants=constants)
    x = np.full((50, 2), 1.0, np.float32) + np.linspace(0, 1e-7, 50, dtype=np.float32)[:, None]
    found = calibrate(dead, x, Calibration(Observer.MSE))
    assert found["relu"] == (0.0, 0.0)
    assert found["input"][0] == 0
    assert 0.85 < found["input"][1] <= 1.001


def test_the_provenance_tells_what_was_used() -> None:
    x = np.zeros((3, 2), np.float32)
    mixed = Calibration().describe(x, 8, (Bits(8, 7), Bits(4, 4)))
    assert mixed.startswith("mse over 3 rows x 8 passes, seed 0, data sha256 ")
    assert mixed.endswith(", stretched by 1.5, mse of weights")
    plain = Calibration(Observer.MINMAX).describe(x, 1, (Bits(8, 7),))
    assert plain.startswith("minmax over 3 rows x 1 pass, seed 0, data sha256 ")
    assert "weights" not in plain
    assert "stretched" not in plain
