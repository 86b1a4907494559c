"""The values that get codes, and those that share a scale."""

from __future__ import annotations

import numpy as np
import pytest

from qbnnc.ir.graph import Graph
from qbnnc.ir.ops import Add, Affine, Concat, Conv2d, KeepMask, Mask, MaxPool2d, Slice
from qbnnc.passes.options import Bits, Quantisation
from qbnnc.passes.ranges.quantisation_points import quantisation_points
from qbnnc.support.errors import Loc
from tests.net import Net


def groups(graph: Graph) -> list[set[str]]:
    """The names of the quantisation points that share a scale."""
    found: dict[str, set[str]] = {}
    for point in quantisation_points(graph):
        found.setdefault(point.group.name, set()).add(point.value.name)
    return list(found.values())


def joined(net: Net, scale: float | None) -> Graph:
    """Two layers joined, the first behind a dropout mask of this factor if there is one."""
    image = net.value
    net.conv(2, 3, "first").relu("first.relu")
    if scale is not None:
        keep = net.build.emit(KeepMask((2, 4, 4), 0.2, 0), loc=Loc("drop"), name="keep")
        net.emit(Mask(scale), keep, name="mask")
    left, net.value = net.value, image
    right = net.conv(2, 3, "second").relu("second.relu").value
    net.value = net.build.emit(Concat(0), left, right, loc=Loc("cat"), name="cat")
    return net.conv(1, 3, "last").graph()


@pytest.mark.parametrize("scale", [None, 1.0])
def test_what_a_concatenation_joins_shares_a_scale(scale: float | None) -> None:
    assert groups(joined(Net((2, 6, 6)), scale)) == [{"input"}, {"first.relu", "second.relu"}]


@pytest.mark.parametrize("scale", [1.25, 0.5, -1.0])
def test_a_value_behind_the_factor_of_a_mask_has_a_scale_of_its_own(scale: float) -> None:
    """A code means 1.25 times as much behind the mask as before it."""
    graph = joined(Net((2, 6, 6)), scale)
    assert groups(graph) == [{"input"}, {"first.relu"}, {"second.relu"}]


def test_a_scale_is_shared_through_what_moves_elements() -> None:
    net = Net((2, 6, 6)).conv(2, 3, "first").relu("relu")
    relu = net.value
    pooled = net.emit(MaxPool2d((2, 2), (1, 1)), name="pool").value
    net.value = relu
    cut = net.emit(Slice(1, 0, 3), name="cut").emit(Slice(2, 0, 3), name="cut2").value
    net.value = net.build.emit(Concat(0), pooled, cut, loc=Loc("cat"), name="cat")
    graph = net.flatten("flatten").linear(3, "fc").graph()
    assert groups(graph) == [{"input"}, {"relu"}]


def test_concatenations_of_concatenations_share_one_scale() -> None:
    net = Net((2, 4, 4))
    image, layers = net.value, []
    for name in "abc":
        net.value = image
        layers.append(net.conv(2, 3, name).relu(f"{name}.relu").value)
    inner = net.build.emit(Concat(0), layers[0], layers[1], loc=Loc("in"), name="inner")
    net.value = net.build.emit(Concat(0), inner, layers[2], loc=Loc("out"), name="outer")
    graph = net.flatten("flatten").linear(2, "fc").graph()
    assert groups(graph) == [{"input"}, {"a.relu", "b.relu", "c.relu"}]


def test_the_clamp_of_an_input_or_of_its_preprocessing_is_the_site() -> None:
    half = np.array(0.5, np.float32)
    clamped = Net((4,)).relu("relu").linear(3, "fc")
    prepared = Net((4,)).affine(half, half, "prepared").relu("relu").linear(3, "fc")
    for net in (clamped, prepared):
        assert [s.value.name for s in quantisation_points(net.graph())] == ["relu"]


def test_an_input_that_two_ops_read_is_its_own_site() -> None:
    net = Net((4,))
    entry = net.value
    half = net.build.constant("half", np.array(0.5, np.float32))
    changed = net.emit(Affine(), half, half, name="changed").value
    net.value = net.build.emit(Concat(0), entry, changed, loc=Loc("cat"), name="cat")
    graph = net.linear(3, "fc").graph()
    assert [s.value.name for s in quantisation_points(graph)] == ["input"]


def test_the_last_layer_is_a_site_where_outputs_are_quantised_too() -> None:
    graph = Net((4,)).linear(3, "fc").linear(2, "last").graph()
    assert [s.value.name for s in quantisation_points(graph)] == ["input", "fc"]
    with_outputs = quantisation_points(graph, outputs=True)
    assert [s.value.name for s in with_outputs] == ["input", "fc", "last"]
    assert [s.node and s.node.output.name for s in with_outputs] == [None, "fc", "last"]


def trunk(scale: float = 1.0) -> Graph:
    """x + mask(conv2(conv1(x))), where x is a layer's: a block between two layers."""
    padded = Conv2d(padding=(1, 1, 1, 1))
    net = Net((2, 4, 4)).conv(2, 3, "stem", padded).relu("stem.relu")
    shortcut = net.value
    net.conv(4, 3, "conv1", padded).relu("conv1.relu").conv(2, 3, "conv2", padded)
    keep = net.build.emit(KeepMask((2, 1, 1), 0.2, 0), loc=Loc("drop"), name="keep")
    net.emit(Mask(scale), keep, name="mask").emit(Add(), shortcut, name="sum").relu("sum.relu")
    return net.conv(2, 3, "tail").relu("tail.relu").flatten("flatten").linear(3, "fc").graph()


@pytest.mark.parametrize("scale", [1.0, 1.25])
def test_residual_sums_and_what_they_add_have_7_bits(scale: float) -> None:
    """Values inside the block, and behind it, have those of activations."""
    points = quantisation_points(trunk(scale))
    bits = {point.value.name: point.bits(Quantisation(Bits(4, 4))) for point in points}
    assert bits == {
        "input": 8,
        "stem.relu": 7,
        "conv1.relu": 4,
        "conv2": 7,
        "sum.relu": 7,
        "tail.relu": 4,
    }


def test_bits_of_residual_sums_that_are_asked_for() -> None:
    points = {point.value.name: point for point in quantisation_points(trunk())}
    asked = Quantisation(Bits(4, 4), layers={"conv2": Bits(8, 3)}, residual_bits=5)
    assert points["sum.relu"].bits(asked) == 5
    assert points["conv2"].bits(asked) == 3
    assert points["sum.relu"].bits(Quantisation(Bits(8, 8))) == 8
    assert not points["tail.relu"].residual


@pytest.mark.parametrize("scale", [None, 1.0, 1.25])
def test_what_a_concatenation_joins_has_7_bits(scale: float | None) -> None:
    points = quantisation_points(joined(Net((2, 6, 6)), scale))
    bits = {point.value.name: point.bits(Quantisation(Bits(4, 4))) for point in points}
    assert bits == {"input": 8, "first.relu": 7, "second.relu": 7}


def test_the_terms_of_a_sum_of_sums_are_residual() -> None:
    net = Net((3,)).linear(3, "a").relu("a.relu")
    a = net.value
    net.linear(3, "b").emit(Add(), a, name="one")
    one = net.value
    graph = net.linear(3, "c").emit(Add(), one, name="two").linear(1, "last").graph()
    residual = {point.value.name for point in quantisation_points(graph) if point.residual}
    assert residual == {"a.relu", "b", "one", "c", "two"}
