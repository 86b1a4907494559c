"""fold-affine: BN and scales disappear into layers; the oracle is the same to rounding."""

from __future__ import annotations

import numpy as np
from hypothesis import given

from qbnnc.ir.check import check
from qbnnc.ir.errors import Loc
from qbnnc.ir.graph import Graph
from qbnnc.ir.ops import Affine, BatchNorm, Conv2d, KeepMask, Mask
from qbnnc.passes.fold_affine import FoldAffine
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


def test_batch_norm_goes_into_the_convolution() -> None:
    graph = Net((2, 6, 6)).conv(3, 3, "conv").batch_norm("bn").relu("relu").graph()
    assert str(folded(graph)) == (
        "float graph(%input: f32[2,6,6]{row})\n"
        "  %conv.weight = constant f32[3,2,3,3]\n"
        "  %conv.bias = constant f32[3]\n"
        "  %conv: f32[3,4,4]{row} = conv2d(%input, %conv.weight, %conv.bias)  # conv (net.py:1)\n"
        "  %relu: f32[3,4,4]{row} = clamp(%conv) low=0 high=None  # relu (net.py:1)\n"
        "  return %relu\n"
    )


def test_batch_norm_of_features_goes_into_the_linear_layer() -> None:
    after = folded(Net((5,)).linear(4, "fc").batch_norm("bn").graph())
    assert [n.op.name for n in after.nodes] == ["linear"]


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


def test_a_scale_of_features_that_nothing_can_take_is_a_depthwise_convolution() -> None:
    ramp = np.arange(1, 5, dtype=np.float32)
    graph = Net((6,)).linear(4, "fc1").relu("relu").affine(ramp, ramp, "scale").graph()
    assert str(folded(graph)).splitlines()[-5:] == [
        "  %relu: f32[4]{row} = clamp(%fc1) low=0 high=None  # relu (net.py:1)",
        "  %scale.reshape: f32[4,1,1]{row} = reshape(%relu) shape=[4, 1, 1]  # scale (net.py:1)",
        "  %scale.conv2d: f32[4,1,1]{row} = conv2d(%scale.reshape, %scale.weight, %scale.bias)"
        " groups=4  # scale (net.py:1)",
        "  %scale: f32[4]{row} = reshape(%scale.conv2d) shape=[4]  # scale (net.py:1)",
        "  return %scale",
    ]


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
    assert [n.op.groups for n in after.nodes if isinstance(n.op, Conv2d)] == [1, 3]


def test_residual_network() -> None:
    after = folded(resnet())
    assert not any(isinstance(n.op, Affine | BatchNorm) for n in after.nodes)


@given(float_graphs())
def test_random_graphs(graph: Graph) -> None:
    assert not any(isinstance(n.op, Affine | BatchNorm) for n in folded(graph).nodes)
