"""fold-dropout-scale: 1/(1-p) goes into the layer; the oracle is the same to rounding."""

from __future__ import annotations

import numpy as np
from hypothesis import given

from qbnnc.ir.check import check
from qbnnc.ir.graph import Graph
from qbnnc.ir.ops import Clamp, KeepMask, Mask
from qbnnc.passes.fusion.fold_dropout_scale import FoldDropoutScale
from qbnnc.support.errors import Loc
from tests.graphs import float_graphs, inputs, lenet, mlp, run
from tests.net import Net


def folded(graph: Graph) -> Graph:
    """The graph after the pass, which must compute the same."""
    after = FoldDropoutScale()(graph)
    check(after)
    x = inputs(graph)
    for a, b in zip(run(graph, x), run(after, x), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-5 * max(1, np.abs(a).max()))
    return after


def scales(graph: Graph) -> list[float]:
    return [n.op.scale for n in graph.nodes if isinstance(n.op, Mask)]


def test_mlp_and_lenet_masks_become_pure_selects() -> None:
    assert scales(folded(mlp())) == [1.0, 1.0]
    assert scales(folded(lenet())) == [1.0, 1.0, 1.0]


def test_bounds_of_clamps_on_the_way_are_scaled() -> None:
    net = Net((4,)).linear(3, "fc").emit(Clamp(0.0, 6.0), name="relu6").dropout(0.5, "drop")
    after = folded(net.graph())
    assert [n.op for n in after.nodes if isinstance(n.op, Clamp)] == [Clamp(0.0, 12.0)]


def test_dropout_on_the_input_keeps_its_scale() -> None:
    assert scales(folded(Net((4,)).dropout(0.2, "drop").linear(3, "fc").graph())) == [1.25]


def test_a_layer_that_something_else_reads_keeps_its_weights() -> None:
    net = Net((4,)).linear(3, "fc")
    raw = net.value
    assert scales(folded(net.graph(net.dropout(0.5, "drop").value, raw))) == [2.0]


def negated(net: Net, scale: float) -> Graph:
    """`net` under a mask with a factor, and a layer."""
    keep = net.build.emit(KeepMask(net.value.type.shape, 0.3, 0), loc=Loc("drop"), name="keep")
    return net.emit(Mask(scale), keep, name="drop").graph()


def test_a_negative_factor_swaps_the_bounds_of_clamps() -> None:
    after = folded(negated(Net((4,)).linear(3, "fc").emit(Clamp(-1.0, 6.0), name="clamp"), -0.5))
    assert [n.op for n in after.nodes if isinstance(n.op, Clamp)] == [Clamp(-3.0, 0.5)]
    assert scales(after) == [1.0]


def test_a_negative_factor_does_not_pass_a_max_pool() -> None:
    net = Net((2, 8, 8)).conv(3, 3, "conv").relu("relu").max_pool("pool")
    assert scales(folded(negated(net, -0.5))) == [-0.5]


def test_a_factor_of_zero_stays() -> None:
    assert scales(folded(negated(Net((4,)).linear(3, "fc").relu("relu"), 0.0))) == [0.0]


def test_two_dropouts_in_a_row() -> None:
    net = Net((4,)).linear(3, "fc").dropout(0.5, "a").dropout(0.5, "b")
    assert scales(folded(net.graph())) == [1.0, 2.0]


@given(float_graphs())
def test_random_graphs(graph: Graph) -> None:
    folded(graph)
