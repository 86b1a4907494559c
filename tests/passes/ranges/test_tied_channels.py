"""Channels that one factor must scale."""

from __future__ import annotations

import numpy as np
import pytest

from qbnnc.ir.graph import Graph
from qbnnc.ir.ops import Concat, Conv2d, Function, MaxPool2d, MaxUnpool, Pad, Transpose
from qbnnc.passes.ranges.tied_channels import FIXED, TiedChannels
from tests.graphs import unet
from tests.net import Net


def classes(graph: Graph, name: str) -> list[int]:
    """The class of each element of the value, numbered anew from 1; FIXED and zeros as they are."""
    value = next(n.output for n in graph.nodes if n.output.name == name)
    found = TiedChannels(graph).classes(value).reshape(-1)
    new = {FIXED: FIXED, -1: -1}
    return [new.setdefault(int(each), len(new) - 1) for each in found]


def hidden(net: Net) -> Graph:
    return net.linear(1, "last").graph()


def test_a_layer_that_layers_read_has_a_class_a_channel() -> None:
    graph = hidden(Net((2,)).linear(3, "fc").relu("relu").dropout(0.5, "drop"))
    assert classes(graph, "fc") == classes(graph, "drop") == [1, 2, 3]


def test_outputs_and_what_other_functions_read_are_fixed() -> None:
    graph = hidden(Net((2,)).linear(3, "fc").unary(Function.TANH, "tanh"))
    assert classes(graph, "fc") == classes(graph, "tanh") == [FIXED] * 3
    assert classes(graph, "last") == [FIXED]


@pytest.mark.parametrize("function", [Function.LEAKY_RELU, Function.ABS])
def test_homogeneous_functions_pass_classes_on(function: Function) -> None:
    graph = hidden(Net((2,)).linear(3, "fc").unary(function, "f", 0.1))
    assert classes(graph, "f") == [1, 2, 3]


def test_moves_take_classes_with_them_and_new_zeros_have_none() -> None:
    net = Net((1, 2, 2)).conv(2, 1, "conv")
    graph = hidden(net.emit(Pad((0, 0, 0, 1)), name="pad").flatten("flat"))
    assert classes(graph, "flat") == [1, 1, -1, 1, 1, -1, 2, 2, -1, 2, 2, -1]


def test_a_convolution_unites_the_positions_of_its_channels() -> None:
    """Rows become channels: the next convolution reads both channels in each."""
    net = Net((1, 2, 2)).conv(2, 1, "conv").emit(Transpose((1, 0, 2)), name="turned")
    graph = hidden(net.conv(3, 1, "next").flatten("flat"))
    assert classes(graph, "conv") == [1] * 8


def test_depthwise_convolutions_have_classes_of_their_own() -> None:
    net = Net((1, 2, 2)).conv(2, 1, "conv")
    graph = hidden(net.conv(2, 1, "deep", Conv2d(groups=2)).flatten("flat"))
    assert classes(graph, "conv") == [1] * 4 + [2] * 4
    assert classes(graph, "deep") == [1] * 4 + [2] * 4


def test_unpooling_passes_the_channels_of_its_values_on() -> None:
    """The image that it compares has its own: each is united over the positions."""
    net = Net((1, 4, 4)).conv(2, 1, "image")
    image = net.value
    net.emit(MaxPool2d((2, 2), (2, 2)), name="pool").conv(2, 1, "values")
    back = net.emit(MaxUnpool((2, 2)), image, name="back")
    graph = hidden(back.conv(2, 1, "deep", Conv2d(groups=2)).flatten("flat"))
    assert classes(graph, "back") == [1] * 16 + [2] * 16
    tied = TiedChannels(graph)
    found = {n.output.name: tied.classes(n.output) for n in graph.nodes}
    assert set(found["values"].reshape(-1)) == set(found["back"].reshape(-1))
    assert not set(found["values"].reshape(-1)) & {FIXED}


def test_a_residual_sum_ties_both_branches() -> None:
    net = Net((2,)).linear(3, "fc").residual("sum", lambda n: n.linear(3, "branch"))
    graph = hidden(net)
    tied = TiedChannels(graph)
    found = {n.output.name: tied.classes(n.output) for n in graph.nodes}
    assert (found["fc"] == found["branch"]).all()
    assert len(np.unique(found["sum"])) == 3


def test_a_join_keeps_the_classes_apart() -> None:
    graph = unet()
    joined = next(n for n in graph.nodes if isinstance(n.op, Concat))
    tied = TiedChannels(graph)
    parts = [tied.classes(v) for v in joined.inputs]
    assert (tied.classes(joined.output) == np.concatenate(parts)).all()


def test_a_weight_that_two_layers_share_stays() -> None:
    net = Net((2,)).linear(2, "fc")
    layer = net.build.producer(net.value)
    assert layer is not None
    graph = hidden(net.emit(layer.op, *layer.inputs[1:], name="again"))
    assert classes(graph, "fc") == [FIXED] * 2
    assert classes(graph, "again") == [FIXED] * 2
