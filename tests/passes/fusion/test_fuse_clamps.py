"""fuse-clamps: clamps move up to the layer; the oracle is the same bit for bit."""

from __future__ import annotations

import pytest
from hypothesis import given

from qbnnc.ir.check import check
from qbnnc.ir.graph import Graph
from qbnnc.ir.ops import Clamp, KeepMask, Mask, Move, Pad, Slice, Transpose
from qbnnc.passes.fusion.fuse_clamps import FuseClamps
from qbnnc.support.errors import Loc
from tests.graphs import float_graphs, inputs, run
from tests.net import Net


def fused(graph: Graph, *, exact: bool = True) -> Graph:
    """The graph after the pass, which must compute the same."""
    after = FuseClamps()(graph)
    check(after)
    x = inputs(graph)
    for a, b in zip(run(graph, x), run(after, x), strict=True):
        assert (a == b).all() if exact else abs(a - b).max() < 1e-4 * max(1, abs(a).max())
    return after


def names(graph: Graph) -> list[str]:
    return [n.op.name for n in graph.nodes]


def test_a_relu_moves_before_pool_reshape_and_dropout() -> None:
    net = Net((2, 6, 6)).conv(3, 3, "conv").max_pool("pool").dropout(0.5, "drop", channels=True)
    after = fused(net.flatten("flatten").relu("relu").linear(2, "fc").graph())
    assert names(after) == [
        "keep_mask",
        "conv2d",
        "clamp",
        "max_pool2d",
        "mask",
        "reshape",
        "linear",
    ] or names(after) == ["conv2d", "keep_mask", "clamp", "max_pool2d", "mask", "reshape", "linear"]


def test_two_clamps_become_one() -> None:
    net = Net((4,)).linear(3, "fc").emit(Clamp(-1.0, 6.0), name="a").emit(Clamp(0.0, 9.0), name="b")
    after = fused(net.graph())
    assert [n.op for n in after.nodes if n.op.name == "clamp"] == [Clamp(0.0, 6.0)]


def test_disjoint_clamps_stay() -> None:
    net = Net((4,)).linear(3, "fc").emit(Clamp(2.0, 3.0), name="a").emit(Clamp(0.0, 1.0), name="b")
    assert names(fused(net.graph())) == ["linear", "clamp", "clamp"]


def test_relu6_after_dropout_divides_its_bound() -> None:
    net = Net((4,)).linear(30, "fc").dropout(0.5, "drop").emit(Clamp(0.0, 1.0), name="relu6")
    after = fused(net.graph(), exact=False)
    assert [n.op for n in after.nodes if n.op.name == "clamp"] == [Clamp(0.0, 0.5)]


def test_a_clamp_after_a_negative_factor_has_its_bounds_swapped() -> None:
    net = Net((4,)).linear(30, "fc")
    keep = net.build.emit(KeepMask((30,), 0.3, 0), loc=Loc("drop"), name="keep")
    after = fused(net.emit(Mask(-0.5), keep, name="drop").relu("relu").graph())
    assert [n.op for n in after.nodes if n.op.name == "clamp"] == [Clamp(None, 0.0)]


def test_a_clamp_that_moves_zero_stays_after_dropout() -> None:
    net = Net((4,)).linear(30, "fc").dropout(0.5, "drop").emit(Clamp(0.1, 1.0), name="clip")
    assert names(fused(net.graph()))[-1] == "clamp"


CLIP = Clamp(0.1, 1.0)


def test_a_clamp_that_moves_zero_moves_before_pools_and_reshapes() -> None:
    net = Net((2, 6, 6)).conv(3, 3, "conv").max_pool("pool").flatten("flatten")
    after = fused(net.emit(CLIP, name="clip").graph())
    assert names(after) == ["conv2d", "clamp", "max_pool2d", "reshape"]


@pytest.mark.parametrize("move", [Pad((1, 1, 1, 1)), Transpose((1, 2, 0)), Slice(1, 0, 2)])
def test_only_a_clamp_that_keeps_zero_moves_before_other_moves(move: Move) -> None:
    net = Net((2, 6, 6)).conv(3, 3, "conv").emit(move, name="move")
    assert names(fused(net.emit(CLIP, name="clip").graph()))[-1] == "clamp"
    net = Net((2, 6, 6)).conv(3, 3, "conv").emit(move, name="move").relu("relu")
    assert names(fused(net.graph())) == ["conv2d", "clamp", move.name]


def test_a_pool_that_is_read_twice_keeps_its_input() -> None:
    net = Net((2, 6, 6)).conv(3, 3, "conv").max_pool("pool")
    pooled = net.value
    after = fused(net.graph(net.relu("relu").value, pooled))
    assert names(after) == ["conv2d", "max_pool2d", "clamp"]


@given(float_graphs())
def test_random_graphs(graph: Graph) -> None:
    fused(graph, exact=False)
