"""scale-softmax: what scales, shifts, masks and moves scores is the softmax's; values stay."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbnnc.ir.check import check
from qbnnc.ir.graph import Graph, Node
from qbnnc.ir.ops import Clamp, Reshape, ScaledSoftmax, Softmax, Transpose
from qbnnc.passes.fusion.scale_softmax import ScaleSoftmax
from qbnnc.support.errors import CompileError
from tests.graphs import inputs, run
from tests.net import Net

LEAST = float(np.finfo(np.float32).min)


def scaled(net: Net, axis: int = -1, error: float = 1e-6) -> Graph:
    """The graph with a softmax at the end, after the pass, which must compute the same."""
    rank = len(net.value.type.shape)
    graph = net.emit(Softmax(axis % rank, False), name="softmax").graph()
    after = ScaleSoftmax()(graph)
    check(after)
    x = inputs(graph)
    np.testing.assert_allclose(run(after, x)[0], run(graph, x)[0], atol=error)
    return after


def softmax_of(graph: Graph) -> Node:
    (node,) = (n for n in graph.nodes if isinstance(n.op, ScaledSoftmax))
    return node


def constants_of(graph: Graph) -> list[object]:
    return [graph.constants[value].tolist() for value in softmax_of(graph).inputs[1:]]


def affine(net: Net, scale: float, shift: object, name: str = "scores") -> Net:
    rank = len(net.value.type.shape)
    moved = np.asarray(shift, np.float32)
    moved = moved.reshape((1,) * (rank - moved.ndim) + moved.shape)
    return net.affine(np.full((1,) * rank, scale, np.float32), moved, name)


def names(graph: Graph) -> list[str]:
    return [node.op.name for node in graph.nodes]


def test_factors_multiply() -> None:
    after = scaled(affine(affine(Net((3,)), 0.5, 7.0, "a"), 3.0, -1.0, "b"))
    assert names(after) == ["scaled_softmax"]
    assert softmax_of(after).op == ScaledSoftmax(1.5)
    assert constants_of(after) == []


@pytest.mark.parametrize("masked", [LEAST, -1e9, -10000.0, -1000.0])
def test_what_is_far_below_is_masked(masked: float) -> None:
    shift = [[0.0, masked, masked], [0.0, 0.0, masked], [0.0, 0.0, 0.0]]
    after = scaled(affine(Net((3, 3)), 1.0, shift))
    assert constants_of(after) == [[[1, 0, 0], [1, 1, 0], [1, 1, 1]]]
    assert after.constants[softmax_of(after).inputs[1]].dtype == np.uint8


def test_what_is_near_is_a_bias() -> None:
    after = scaled(affine(Net((3, 3)), 1.0, [-100.0, 0.0, -999.0]))
    assert constants_of(after) == [[[-100.0, 0.0, -999.0]]]


def test_a_mask_before_a_factor_and_a_bias() -> None:
    net = affine(affine(Net((1, 3)), 1.0, [0.0, LEAST, 0.0], "mask"), 0.5, [4.0, 2.0, 3.0], "bias")
    after = scaled(net)
    assert constants_of(after) == [[[1, 0, 1]], [[0.0, 0.0, -1.0]]]
    assert softmax_of(after).op == ScaledSoftmax(0.5)


def test_a_filled_mask_scales_by_0() -> None:
    net = Net((1, 3))
    net.affine(np.array([[1, 0, 1]], np.float32), np.array([[0, LEAST, 0]], np.float32), "fill")
    after = scaled(net)
    assert names(after) == ["scaled_softmax"]
    assert constants_of(after) == [[[1, 0, 1]]]


def test_rows_that_are_low_as_a_whole_are_not_masked() -> None:
    """Float32 scores near -2000 have steps of 1e-4."""
    net = affine(Net((2, 3)), 1.0, [[0.0], [-2000.0]])
    assert constants_of(scaled(net, error=2e-4)) == []


@pytest.mark.parametrize("scale", [-1.0, 0.0])
def test_a_factor_that_is_not_positive_stays(scale: float) -> None:
    after = scaled(affine(Net((3,)), scale, 0.0))
    assert names(after) == ["affine", "scaled_softmax"]


def test_factors_of_elements_stay() -> None:
    net = Net((3,)).affine(np.array([1, 2, 1], np.float32), np.zeros(1, np.float32), "scale")
    assert names(scaled(net)) == ["affine", "scaled_softmax"]


def test_an_affine_that_is_read_elsewhere_stays() -> None:
    net = affine(Net((3,)), 0.5, 0.0)
    scores = net.value
    softmax = net.emit(Softmax(0, False), name="softmax").value
    assert names(ScaleSoftmax()(net.graph(softmax, scores))) == ["affine", "scaled_softmax"]


def test_a_clamp_stays_before() -> None:
    net = affine(Net((3,)), 2.0, 0.0).emit(Clamp(-1.0, 1.0), name="clamp")
    assert names(scaled(net)) == ["affine", "clamp", "scaled_softmax"]


@pytest.mark.parametrize(
    ("move", "after"),
    [
        (lambda n: n.emit(Reshape((2, 3, 4)), name="r"), "scaled_softmax reshape"),
        (lambda n: n.emit(Transpose((1, 0, 2)), name="t"), "scaled_softmax transpose"),
        (lambda n: n.emit(Reshape((24,)), name="r"), "affine reshape scaled_softmax"),
        (lambda n: n.emit(Transpose((0, 2, 1)), name="t"), "transpose scaled_softmax"),
    ],
)
def test_moves(move: Callable[[Net], Net], after: str) -> None:
    """Those that keep the rows come after the softmax, and the mask before them is its."""
    keeps_rows = after.startswith("scaled")
    net = affine(Net((2, 3, 4)), 0.5, [0.0, LEAST if keeps_rows else -3.0, 0.0, -1.0])
    assert " ".join(names(scaled(move(net)))) == after


@given(st.permutations(range(3)), st.integers(0, 2), st.integers(0, 2**32 - 1), st.booleans())
def test_any_axis_behind_any_moves(order: list[int], axis: int, seed: int, masks: bool) -> None:
    rng = np.random.default_rng(seed)
    net = Net((2, 3, 4))
    shift = rng.normal(size=(2, 3, 4)).astype(np.float32)
    if masks:
        hidden = rng.random(shift.shape) < 0.5
        hidden[0, :, :] = hidden[:, 0, :] = hidden[:, :, 0] = False
        shift[hidden] = LEAST
    net = affine(net, 2.0, shift).emit(Transpose(tuple(order)), name="turn")
    net = affine(net, 0.25, 0.5, "again")
    assert softmax_of(scaled(net, axis)).output.type.shape[-1] == (2, 3, 4)[order[axis]]


def test_a_softmax_that_gives_logarithms_stays() -> None:
    graph = affine(Net((3,)), 0.5, 0.0).emit(Softmax(0, True), name="log").graph()
    assert names(ScaleSoftmax()(graph)) == ["affine", "softmax"]


def test_minus_infinity_behind_a_clamp_is_refused() -> None:
    net = affine(Net((3,)), 1.0, [0.0, LEAST, 0.0]).emit(Clamp(None, 1.0), name="clamp")
    with pytest.raises(CompileError, match=r"^scores .*sets elements to minus infinity"):
        ScaleSoftmax()(net.emit(Softmax(0, False), name="softmax").graph())
