"""Equalisation: the float network stays the same, and its quantised channels come nearer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from qbnnc.ir.graph import Graph
from qbnnc.ir.ops import Conv2d
from qbnnc.passes.options import Quantisation, WeightScheme
from qbnnc.passes.pipeline import pipeline
from qbnnc.passes.ranges.calibrate import Calibration
from qbnnc.passes.ranges.equalise_channels import EqualiseChannels
from qbnnc.support.errors import UserError
from tests.graphs import bayesian_mlp, dense, float_graphs, inputs, lenet, mlp, resnet, run, unet
from tests.net import Net


def equalised(graph: Graph, options: Quantisation | None = None) -> Graph:
    rows = inputs(graph, 70)
    return EqualiseChannels(rows, Calibration(), options or Quantisation())(graph)


def uneven(graph: Graph) -> Graph:
    """The graph ready for quantisation, rows of its weights scaled by 1, 4, 16, 64, 1, ..."""
    ready = pipeline().before("equalise-channels")(graph)
    constants = {
        value: array * (4.0 ** (np.arange(len(array)) % 4)).reshape(-1, *[1] * (array.ndim - 1))
        if array.ndim > 1
        else array
        for value, array in ready.constants.items()
    }
    return Graph(
        ready.input,
        ready.nodes,
        ready.outputs,
        {v: a.astype(np.float32) if a.dtype.kind == "f" else a for v, a in constants.items()},
        ready.stage,
    )


def assert_same(before: Graph, after: Graph) -> None:
    x = inputs(before)
    for ours, theirs in zip(run(before, x), run(after, x), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5 * np.abs(theirs).max())


@given(float_graphs())
def test_the_float_network_stays_the_same(graph: Graph) -> None:
    before = uneven(graph)
    assert_same(before, equalised(before))


@pytest.mark.parametrize("make", [mlp, lenet, resnet, unet, dense])
def test_networks_are_changed_and_stay_the_same(make: object) -> None:
    assert callable(make)
    before = uneven(make())
    after = equalised(before)
    assert after is not before
    assert_same(before, after)
    assert [str(n.op) for n in after.nodes] == [str(n.op) for n in before.nodes]


def test_channels_come_nearer_by_the_square_root() -> None:
    """Ranges of 1 and 9 become 3 and 9."""
    net = Net((2,)).linear(2, "fc").relu("relu")
    graph = net.linear(1, "last").graph()
    weights = iter([np.eye(2) * [[1], [9]], np.zeros(2), np.ones((1, 2)), np.zeros(1)])
    constants = {v: next(weights).astype(np.float32) for v in graph.constants}
    graph = Graph(graph.input, graph.nodes, graph.outputs, constants, graph.stage)
    rows = np.ones((3, 2), np.float32)
    after = EqualiseChannels(rows, Calibration(), Quantisation())(graph)
    found = list(after.constants.values())
    np.testing.assert_allclose(found[0], [[3, 0], [0, 9]], rtol=1e-6)
    np.testing.assert_allclose(found[2], [[1 / 3, 1]], rtol=1e-6)


def test_groups_read_their_own_channels() -> None:
    net = Net((2, 3, 3)).conv(4, 1, "conv").relu("relu")
    graph = net.conv(6, 3, "grouped", Conv2d(groups=2)).flatten("flat").linear(1, "fc").graph()
    before = uneven(graph)
    assert_same(before, equalised(before))


def test_it_is_declined() -> None:
    graph = uneven(mlp())
    assert equalised(graph, Quantisation(equalise=False)) is graph
    assert equalised(graph, Quantisation(weights=WeightScheme.TENSOR_AFFINE)) is graph
    sampled = pipeline().before("equalise-channels")(bayesian_mlp())
    assert equalised(sampled) is sampled


def test_rows_are_asked_for() -> None:
    with pytest.raises(UserError, match=r"equalise-channels: .*there are none"):
        EqualiseChannels(None, Calibration(), Quantisation())(uneven(mlp()))
