"""Fitting layers: means that come together, weights on their grid, and when it declines."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbnnc.ir.evaluate import evaluate
from qbnnc.ir.graph import Graph, Value
from qbnnc.ir.ops import Conv2d, FakeQuantize, Linear
from qbnnc.ir.ops.base import Tensor
from qbnnc.ir.rng import Draw
from qbnnc.ir.types import PER_ROW, Array, DType, QuantParams, TensorType
from qbnnc.passes.base import run_passes
from qbnnc.passes.fitting.fit_layers import FitLayers
from qbnnc.passes.fitting.observations import im2col
from qbnnc.passes.fitting.paired_evaluation import batches_of, live_bytes
from qbnnc.passes.fitting.rounding import Moments, MomentSum
from qbnnc.passes.fusion.fold_affine import FoldAffine
from qbnnc.passes.fusion.fold_dropout_scale import FoldDropoutScale
from qbnnc.passes.fusion.fuse_clamps import FuseClamps
from qbnnc.passes.options import Bits, Quantisation, Rounding
from qbnnc.passes.ranges.calibrate import Calibration, calibrate
from qbnnc.passes.ranges.insert_fake_quantize import InsertFakeQuantize
from qbnnc.support.errors import RoundingWarning
from tests.graphs import (
    bayesian_lenet,
    bayesian_mlp,
    dense,
    inputs,
    lenet,
    mlp,
    rearranged_noise,
    resnet,
    run,
)
from tests.net import Net


def tied() -> Graph:
    """One sampled weight that two layers use."""
    net = Net((12,))
    mu, sigma = net.rng.normal(size=(12, 12)) / 3, net.rng.uniform(0, 0.3, (12, 12))
    weight = net.sampled("weight", mu, sigma)
    net.emit(Linear(), weight, net.constant("b1", 12), name="first").relu("relu")
    return net.emit(Linear(), weight, net.constant("b2", 12), name="second").graph()


HOW = Calibration(passes=3)
BIASES = Quantisation(Bits(4, 4), rounding=Rounding.NEAREST, bias_correction=True)
FITTED = Quantisation(Bits(3, 8), rounding=Rounding.FITTED, bias_correction=True)


class Case:
    """A float graph, what insert-fake-quantize made of it, and what fit-layers made of that."""

    def __init__(self, source: Graph, options: Quantisation, rows: int = 40) -> None:
        self.rows = inputs(source, rows)
        self.float = run_passes(source, [FoldAffine(), FuseClamps(), FoldDropoutScale()])
        ranges = calibrate(self.float, self.rows, HOW, quantisation=options)
        insert = InsertFakeQuantize(lambda _: ranges, options, HOW)
        self.simulated = run_passes(self.float, [insert])
        self.fitted = run_passes(self.simulated, [self.fit(options)])

    def fit(self, options: Quantisation) -> FitLayers:
        return FitLayers(self.rows, HOW, options)

    def means(self, graph: Graph) -> dict[str, Array]:
        """The mean of each layer's output over rows and draws, by channel."""
        sums: dict[str, Array] = {}
        layers = {n.output for n in graph.nodes if isinstance(n.op, Linear | Conv2d)}

        def observe(value: Value, array: Array) -> None:
            if value in layers:
                last = np.moveaxis(array.astype(np.float64), 2, -1)
                mean = last.reshape(-1, last.shape[-1]).mean(axis=0)
                sums[value.name] = sums.get(value.name, np.zeros(1)) + mean / 3

        for draw in range(3):
            evaluate(graph, self.rows, Draw.of(0, [draw], range(len(self.rows))), observe)
        return sums


def constants(graph: Graph) -> dict[str, Array]:
    return {value.name: array for value, array in graph.constants.items()}


@pytest.mark.parametrize("source", [mlp, lenet, resnet, bayesian_mlp, bayesian_lenet, dense])
def test_bias_correction_brings_the_means_together(source: Callable[[], Graph]) -> None:
    case = Case(source(), BIASES)
    wanted, before, after = (case.means(g) for g in (case.float, case.simulated, case.fitted))
    scales = {
        n.output.name: max(n.inputs[2].type.quant.scale)
        for n in case.fitted.nodes
        if isinstance(n.op, Linear | Conv2d) and n.inputs[2].type.quant is not None
    }
    assert wanted.keys() == before.keys() == after.keys()
    for name, mean in wanted.items():
        assert (np.abs(after[name] - mean) <= 0.51 * scales[name] + 2e-2 * np.abs(mean)).all()
    total = [sum(float(np.abs(m[k] - wanted[k]).sum()) for k in wanted) for m in (before, after)]
    assert total[1] < 0.4 * total[0]


@pytest.mark.parametrize("source", [mlp, lenet, resnet])
def test_fitted_weights_are_codes_and_bring_the_outputs_nearer(
    source: Callable[[], Graph],
) -> None:
    case = Case(source(), FITTED)
    quants = {
        n.inputs[0].name: n.op.quant
        for n in case.fitted.nodes
        if isinstance(n.op, FakeQuantize) and n.op.quant.bits == 3
    }
    weights = {name: a for name, a in constants(case.fitted).items() if name in quants}
    assert weights
    for name, array in weights.items():
        scale = quants[name].scale_array(array.ndim)
        np.testing.assert_allclose(array / scale, np.rint(array / scale), atol=1e-4)
    wanted = run(case.float, case.rows)
    errors = [
        sum(float(((a - b) ** 2).mean()) for a, b in zip(wanted, run(g, case.rows), strict=True))
        for g in (case.simulated, case.fitted)
    ]
    assert errors[1] < 0.7 * errors[0]


def quants_of(graph: Graph) -> list[QuantParams]:
    return [n.op.quant for n in graph.nodes if isinstance(n.op, FakeQuantize)]


def test_scales_of_4_bits_stay() -> None:
    case = Case(mlp(), Quantisation(Bits(4, 4)))
    assert quants_of(case.simulated) == quants_of(case.fitted)


def test_scales_of_3_bits_grow_by_a_third_at_most() -> None:
    """Scales of biases follow, and those of activations stay."""
    case = Case(mlp(), Quantisation(Bits(3, 4)))
    grown = []
    for old, new in zip(quants_of(case.simulated), quants_of(case.fitted), strict=True):
        factors = np.array(new.scale) / np.array(old.scale)
        if old.axis is None:
            assert new == old
        else:
            nearest = np.abs(factors[:, None] - [1, 1.1, 1.21, 1.33]).min(axis=1)
            assert (nearest < 1e-5).all()
            assert (new.zero_point, new.low, new.high) == (old.zero_point, old.low, old.high)
            grown.append(factors)
    for weight, bias in zip(grown[::2], grown[1::2], strict=True):
        np.testing.assert_allclose(weight, bias, rtol=1e-6)
    assert max(factors.max() for factors in grown) > 1.05


def test_many_bits_are_left_alone() -> None:
    for source in (mlp(), bayesian_mlp()):
        many = Case(source, Quantisation())
        assert many.fitted is many.simulated
    few = Case(mlp(), Quantisation(Bits(4, 7)))
    assert few.fitted is not few.simulated
    off = Quantisation(Bits(4, 7), rounding=Rounding.NEAREST, bias_correction=False)
    assert few.fit(off)(few.simulated) is few.simulated


@pytest.mark.parametrize(
    ("source", "part"),
    [(bayesian_mlp, 0.8), (bayesian_lenet, 0.8), (rearranged_noise, 1.0), (tied, 0.8)],
)
def test_samples_of_fitted_weights_bring_the_outputs_nearer(
    source: Callable[[], Graph], part: float
) -> None:
    """Means and deviations of the outputs over 200 samples, at 3 bits."""
    options = Quantisation(Bits(3, 8))
    case = Case(source(), options)
    plain = case.simulated
    wanted = run(case.float, case.rows, 200)
    errors = []
    for graph in (plain, case.fitted):
        given = run(graph, case.rows, 200)
        errors.append(
            sum(
                float(((f(a, axis=0) - f(b, axis=0)) ** 2).mean())
                for a, b in zip(wanted, given, strict=True)
                for f in (np.mean, np.std)
            )
        )
    assert errors[1] < part * errors[0]


def test_a_layer_has_bits_of_its_own() -> None:
    case = Case(mlp(), Quantisation(layers={"fc2": Bits(3, 7)}))
    before, after = constants(case.simulated), constants(case.fitted)
    moved = {name for name in before if not np.array_equal(before[name], after[name])}
    assert moved == {"fc2.weight", "fc2.bias"}


def test_weights_of_convolutions_in_groups_stay_and_their_biases_move() -> None:
    net = Net((4, 6, 6)).conv(4, 3, "grouped", Conv2d(groups=2)).relu("relu")
    case = Case(net.conv(2, 1, "last").flatten("flat").graph(), FITTED)
    before, after = constants(case.simulated), constants(case.fitted)
    np.testing.assert_array_equal(before["grouped.weight"], after["grouped.weight"])
    assert (before["grouped.bias"] != after["grouped.bias"]).any()
    assert (before["last.weight"] != after["last.weight"]).any()


def test_a_layer_whose_inputs_never_vary_keeps_its_weight() -> None:
    net = Net((3,))
    zero, bias = net.constant("zero", 4, 3, scale=0), net.constant("bias", 4, base=1.0)
    net.emit(Linear(), zero, bias, name="dead").relu("relu").linear(2, "after")
    case = Case(net.relu("relu2").linear(2, "last").graph(), FITTED)
    before, after = constants(case.simulated), constants(case.fitted)
    np.testing.assert_array_equal(before["after.weight"], after["after.weight"])


@given(
    st.sampled_from([(1, 1), (2, 1), (1, 3)]),
    st.sampled_from([(0, 0, 0, 0), (1, 0, 2, 1)]),
    st.sampled_from([(1, 1), (2, 1)]),
    st.integers(1, 7),
)
def test_unfolded_rows_are_what_a_convolution_multiplies(
    stride: tuple[int, int],
    padding: tuple[int, int, int, int],
    dilation: tuple[int, int],
    step: int,
) -> None:
    rng = np.random.default_rng(0)
    x, w, b = (rng.normal(size=s).astype(np.float32) for s in ((3, 2, 7, 8), (4, 2, 3, 2), (4,)))
    op = Conv2d(stride=stride, padding=padding, dilation=dilation)
    y = _evaluate(op, x, w, b)
    expected = np.moveaxis(y, 1, -1).reshape(-1, 4)[::step]
    rows = im2col(op, w.shape, x, step)
    np.testing.assert_allclose(rows @ w.reshape(4, -1).T + b, expected, atol=1e-5)
    flat = x.reshape(len(x), -1)
    assert (im2col(Linear(), (4, flat.shape[1]), flat, step) == flat[::step]).all()


def _evaluate(op: Conv2d, *arrays: Array) -> Array:
    shapes = (arrays[0].shape[1:], *(a.shape for a in arrays[1:]))
    data = (arrays[0][None], *(a[None, None] for a in arrays[1:]))
    tensors = (
        Tensor(a, TensorType(DType.F32, s, PER_ROW)) for a, s in zip(data, shapes, strict=True)
    )
    y: Array = op.evaluate(*tensors)[0]
    return y


def test_memory_bounds_the_rows_and_draws_number_them() -> None:
    rows = np.arange(1000, dtype=np.float32)[:, None]
    every = batches_of(rows, 5, 2, 1)
    assert sum(len(p.rows) for p in every) == 2000
    assert [int(p.draw.samples[0]) for p in every] == [0] * 16 + [1] * 16
    few = batches_of(rows, 5, 2, 2**30 // 200)
    taken = np.concatenate([p.rows[:, 0] for p in few[:2]])
    assert len(taken) == 100
    assert (taken[0], taken[-1]) == (0, 999)
    assert len(batches_of(rows, 5, 2, 2**40)) == 2


def test_live_bytes_are_the_most_that_is_alive_at_a_time() -> None:
    graph = Net((6,)).linear(100, "a").linear(2, "b").linear(50, "c").graph()
    assert live_bytes(graph) == 4 * (100 + 6)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_layer_that_cannot_be_fitted_is_rounded_with_a_word(
    monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    def broken(self: MomentSum) -> Moments:
        good = whole(self)
        return Moments(good.hessian + value, good.cross)

    whole = MomentSum.moments
    monkeypatch.setattr(MomentSum, "moments", broken)
    options = Quantisation(Bits(3, 8), rounding=Rounding.FITTED, bias_correction=False)
    with pytest.warns(RoundingWarning, match="is rounded to nearest, not fitted") as caught:
        case = Case(mlp(), options)
    layers = [node for node in case.simulated.nodes if isinstance(node.op, Linear)]
    assert len(caught) == len(layers)
    assert [str(w.message).startswith(f"{n.loc}: ") for w, n in zip(caught, layers, strict=True)]
    assert str(case.fitted) == str(case.simulated)
