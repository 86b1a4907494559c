"""fold-affine: BN and scales disappear into layers; the oracle is the same to rounding."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from qbnnc.ir.check import check
from qbnnc.ir.graph import Graph
from qbnnc.ir.ops import (
    Affine,
    AveragePool2d,
    BatchNorm,
    Clamp,
    Composite,
    Conv2d,
    KeepMask,
    Linear,
    Mask,
    Reshape,
)
from qbnnc.passes.fusion.fold_affine import FoldAffine
from qbnnc.support.errors import Loc
from tests.graphs import float_graphs, inputs, resnet, run
from tests.net import Net


def folded(graph: Graph) -> Graph:
    """The graph after the pass, which must compute the same."""
    after = FoldAffine()(graph)
    check(after)
    x = inputs(graph)
    for a, b in zip(run(graph, x), run(after, x), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-4 * max(1, np.abs(a).max()))
    return after


def test_batch_norm_of_features_goes_into_the_linear_layer() -> None:
    after = folded(Net((5,)).linear(4, "fc").batch_norm("bn").graph())
    assert [n.op.name for n in after.nodes] == ["linear"]


def test_one_scale_a_channel_of_an_image_goes_into_the_convolution() -> None:
    scale = np.array([[[3.0]], [[-2.0]]], np.float32)
    after = folded(Net((2, 6, 6)).conv(2, 3, "conv").affine(scale, scale, "scale").graph())
    assert [n.op.name for n in after.nodes] == ["conv2d"]


def test_two_scales_become_one_and_the_input_keeps_it() -> None:
    one, two = np.float32(1) / np.array(255, np.float32), np.array([[[3.0]], [[2.0]]], np.float32)
    net = Net((2, 6, 6)).affine(np.asarray(one), np.zeros((), np.float32), "scale")
    graph = net.affine(two, -two, "normalise").conv(3, 3, "conv").graph()
    after = folded(graph)
    assert [n.op.name for n in after.nodes] == ["affine", "conv2d"]


def test_a_scale_before_a_linear_layer_goes_forward() -> None:
    ramp = np.arange(1, 5, dtype=np.float32)
    graph = Net((6,)).linear(4, "fc1").relu("relu").affine(ramp, -ramp, "scale").linear(2, "fc2")
    after = folded(graph.graph())
    assert [n.output.name for n in after.nodes] == ["fc1", "relu", "fc2"]


def test_batch_norm_after_a_pool_becomes_a_depthwise_convolution() -> None:
    graph = Net((2, 8, 8)).conv(3, 3, "conv").max_pool("pool").batch_norm("bn").relu("relu").graph()
    after = folded(graph)
    op = after.nodes[2].op
    assert isinstance(op, Conv2d)
    assert op.groups == 3


def test_a_layer_that_is_read_twice_keeps_its_weights() -> None:
    """BN must not change what the other reader of the convolution sees."""
    net = Net((2, 8, 8)).conv(3, 3, "conv")
    raw = net.value
    net.batch_norm("bn").relu("relu").flatten("flat")
    normalised = net.linear(2, "fc").value
    after = folded(net.graph(normalised, raw))
    assert not any(isinstance(n.op, Affine | BatchNorm) for n in after.nodes)


def test_the_sign_of_a_mask_is_left_to_the_layer() -> None:
    net = Net((4,)).linear(3, "fc")
    keep = net.build.emit(KeepMask((3,), 0.3, 0), loc=Loc("drop"), name="keep")
    after = folded(net.emit(Mask(-0.5), keep, name="drop").graph())
    assert [n.op for n in after.nodes if isinstance(n.op, Mask)] == [Mask(-0.5)]


def test_a_sign_that_no_layer_takes_is_a_scale() -> None:
    net = Net((2, 8, 8)).conv(3, 3, "conv").relu("relu").max_pool("pool")
    keep = net.build.emit(KeepMask((3, 3, 3), 0.3, 0), loc=Loc("drop"), name="keep")
    after = folded(net.emit(Mask(-0.5), keep, name="drop").graph())
    assert [n.op for n in after.nodes if isinstance(n.op, Mask)] == [Mask(0.5)]
    (sign,) = (n.op for n in after.nodes if isinstance(n.op, Composite))
    assert sign.real(np.array([2.0, 0.0])).tolist() == [-2.0, 0.0]


def test_residual_network() -> None:
    after = folded(resnet())
    assert not any(isinstance(n.op, Affine | BatchNorm) for n in after.nodes)


@given(float_graphs())
def test_random_graphs(graph: Graph) -> None:
    assert not any(isinstance(n.op, Affine | BatchNorm) for n in folded(graph).nodes)


def test_batch_norm_of_a_sequence_goes_into_the_convolution() -> None:
    """conv1d is a conv2d over [C, 1, L]: a reshape stands between."""
    net = Net((2, 1, 8)).emit(Reshape((2, 1, 8)), name="view").conv(3, 1, "conv")
    graph = net.emit(Reshape((3, 8)), name="sequence").batch_norm("bn").relu("relu").graph()
    assert names(folded(graph)) == ["view", "conv", "sequence", "relu"]


def test_a_negation_follows_a_batch_norm_that_leaves() -> None:
    """Both can be carried in one round, the negation to a batch norm that is not there any more."""
    minus, zero = np.array(-1.0, np.float32), np.array(0.0, np.float32)
    net = Net((2, 1, 8)).conv(3, 1, "conv").emit(Reshape((3, 8)), name="sequence")
    graph = net.batch_norm("bn").relu("relu").affine(minus, zero, "minus").graph()
    known = {value.name: array.astype(np.float64) for value, array in graph.constants.items()}
    x = inputs(graph)
    made = np.einsum("oi,bil->bol", known["conv.weight"][:, :, 0, 0], x[:, :, 0])
    made += known["conv.bias"][:, None]
    weight, bias, mean, var = (known[f"bn.{w}"][:, None] for w in "weight bias mean var".split())
    expected = -np.maximum(weight * (made - mean) / np.sqrt(var + 1e-5) + bias, 0)
    after = folded(graph)
    (found,) = run(after, x)
    np.testing.assert_allclose(found[0], expected, rtol=1e-4, atol=1e-5)
    assert names(after) == ["conv", "sequence", "relu"]


def test_a_negative_number_does_not_pass_a_max_pool() -> None:
    minus, zero = np.array(-2.0, np.float32), np.array(0.0, np.float32)
    net = Net((2, 4, 4)).conv(3, 1, "conv").max_pool("pool")
    after = folded(net.affine(minus, zero, "scale").graph())
    assert [n.op.name for n in after.nodes] == ["conv2d", "max_pool2d", "composite"]


@pytest.mark.parametrize("divisors", [(), (1.0,), (1.0, 2.0, 1.0, 4.0)])
@pytest.mark.parametrize("padding", [(0, 0, 0, 0), (1, 1, 1, 1)])
def test_a_shift_after_an_average_or_a_sum(
    divisors: tuple[float, ...], padding: tuple[int, int, int, int]
) -> None:
    half, three = np.array(-0.5, np.float32), np.array(3.0, np.float32)
    pool = AveragePool2d((2, 2), (2 + padding[0],) * 2, padding, divisors=divisors)
    net = Net((2, 4, 4)).conv(3, 1, "conv").emit(pool, name="pool").affine(half, three, "scale")
    after = folded(net.graph())
    passes = len(set(divisors)) < 2 and not any(padding)
    assert names(after) == (["conv", "pool"] if passes else ["conv", "pool", "scale"])


def test_a_positive_number_passes_pools_masks_and_clamps() -> None:
    half, zero = np.array(0.5, np.float32), np.array(0.0, np.float32)
    net = Net((2, 4, 4)).conv(3, 1, "conv").max_pool("pool").emit(Clamp(0.0, 6.0), name="relu6")
    after = folded(net.dropout(0.5, "drop").affine(half, zero, "scale").graph())
    assert names(after) == ["conv", "pool", "relu6", "drop.keep", "drop"]
    assert after.nodes[2].op == Clamp(0.0, 3.0)


def test_a_shift_does_not_pass_a_mask() -> None:
    one, shift = np.array(1.0, np.float32), np.array(0.5, np.float32)
    net = Net((6,)).linear(4, "fc").dropout(0.5, "drop").affine(one, shift, "shift")
    after = folded(net.relu("relu").graph())
    assert [n.op.name for n in after.nodes][-2:] == ["composite", "clamp"]


def test_a_scale_goes_down_over_a_reshape() -> None:
    ramp = np.arange(1, 5, dtype=np.float32).reshape(4, 1, 1)
    net = Net((4, 2, 3)).max_pool("pool").affine(ramp, -ramp, "scale").flatten("flatten")
    assert names(folded(net.linear(2, "fc").graph())) == ["pool", "flatten", "fc"]


def test_a_shift_does_not_go_into_sampled_weights() -> None:
    """The bias would need the noise of the weight."""
    ramp = np.arange(1, 5, dtype=np.float32)
    net = Net((4,)).relu("relu").affine(ramp, ramp, "scale").bayesian(2, "fc", Linear())
    assert any(n.op == Conv2d(groups=4) for n in folded(net.graph()).nodes)


def test_the_last_axis_is_turned_to_the_front() -> None:
    ramp = np.arange(1, 6, dtype=np.float32)
    after = folded(Net((3, 5)).relu("relu").affine(ramp, ramp, "scale").graph())
    assert [n.op.name for n in after.nodes] == [
        "clamp",
        "transpose",
        "reshape",
        "conv2d",
        "reshape",
        "transpose",
    ]


@pytest.mark.parametrize("factor", [-1.0, 0.0])
def test_the_input_times_a_number_that_is_not_positive(factor: float) -> None:
    scale, shift = np.array(factor, np.float32), np.array(1.0, np.float32)
    after = folded(Net((2, 4, 4)).affine(scale, shift, "scale").conv(3, 1, "conv").graph())
    assert [n.op.name for n in after.nodes] == ["composite", "conv2d"]


def test_an_affine_that_two_nodes_read_is_one_function() -> None:
    half = np.array(0.5, np.float32)
    net = Net((6,)).linear(4, "fc").relu("relu")
    relu = net.value
    net.affine(half, half, "scale")
    scaled = net.value
    first = net.linear(2, "a").value
    net.value = scaled
    after = folded(net.graph(net.linear(2, "b").value, first, relu))
    assert sorted(n.op.name for n in after.nodes) == sorted(
        ["linear", "clamp", "composite", "linear", "linear"]
    )


def names(graph: Graph) -> list[str]:
    return [node.output.name for node in graph.nodes]


def test_scales_of_a_value_without_axes() -> None:
    two, one = np.array(2.0, np.float32), np.array(1.0, np.float32)
    net = Net((6,)).linear(1, "fc").emit(Reshape(()), name="squeeze")
    after = folded(net.affine(two, one, "a").affine(two, one, "b").graph())
    assert names(after) == ["fc", "squeeze"]
