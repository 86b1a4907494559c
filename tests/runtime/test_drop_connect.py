"""Weights and biases under a mask: every layer and layout, against the oracle."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest

from qbnnc.ir.graph import Value
from qbnnc.ir.ops import Conv2dInteger, Dequantize, LinearInteger, Reshape, Select, Transpose
from qbnnc.ir.types import Array
from qbnnc.runtime import load
from tests.runtime.draws import DrawsNet, drop_connect
from tests.runtime.nets import assert_equal, codes
from tests.runtime.test_choices import check
from tests.strategies import input_batch

Of = Literal["constant", "chosen", "sampled"]


def whole(net: DrawsNet, of: Of, *shape: int, affine: int = 0) -> Value:
    if of == "sampled":
        return net.sampled(*shape, symmetric=not affine)
    weight = net.weight(*shape, zero=affine)
    return net.chosen(weight) if of == "chosen" else weight


@pytest.mark.parametrize("of", ["constant", "chosen", "sampled"])
@pytest.mark.parametrize("affine", [0, 9])
@pytest.mark.parametrize("mask", [(19, 13), (19, 1), (1, 13), (1, 1)])
def test_linear(of: Of, affine: int, mask: tuple[int, ...]) -> None:
    net = DrawsNet((13,), 1, codes(0.03, 33))
    weight = net.dropped(whole(net, of, 19, 13, affine=affine), *mask)
    net.emit(LinearInteger(), net.value, weight, net.bias(19))
    net.observed(50, low=50)
    check(net)


@pytest.mark.few(4)
@pytest.mark.parametrize("inputs", [1, 4, 64, 130])
@pytest.mark.parametrize("features", [1, 16, 129, 300])
def test_linear_sizes(inputs: int, features: int) -> None:
    net = DrawsNet((inputs,), 2, codes(0.03, 20))
    weight = net.weight(features, inputs)
    bias = net.dropped(net.coded_bias(weight))
    net.emit(LinearInteger(), net.value, net.dropped(weight), bias)
    check(net, rows=6)


@pytest.mark.few(6)
@pytest.mark.parametrize("of", ["constant", "sampled"])
@pytest.mark.parametrize(("channels", "filters", "groups"), [(3, 5, 1), (6, 12, 3), (6, 6, 6)])
@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize("by", ["element", "channel", "tap"])
def test_convolution(
    of: Of, channels: int, filters: int, groups: int, folded: bool, by: str
) -> None:
    net = DrawsNet((channels, 6, 5), 3, codes(0.03, 33))
    op = Conv2dInteger((2, 1), (1, 0, 1, 2), (1, 2), groups, folded)
    shape = (filters, channels // groups, 3, 2)
    masks = {"element": shape, "channel": (filters, 1, 1, 1), "tap": (1, 1, 3, 2)}
    weight = net.dropped(whole(net, of, *shape, affine=5), *masks[by])
    net.emit(op, net.value, weight, net.bias(filters))
    net.observed(50)
    check(net)


def test_winograd() -> None:
    net = DrawsNet((16, 9, 9), 4, codes(0.03, 12))
    op = Conv2dInteger(padding=(1, 1, 1, 1))
    net.emit(op, net.value, net.dropped(net.weight(32, 16, 3, 3)), net.bias(32))
    net.observed(30)
    check(net)


@pytest.mark.parametrize("mask", [(10,), (1,)])
@pytest.mark.parametrize("of", ["constant", "chosen"])
def test_bias(mask: tuple[int, ...], of: Of) -> None:
    net = DrawsNet((6,), 5, codes(0.03, 20))
    weight = net.weight(10, 6)
    bias = net.coded_bias(weight)
    bias = net.dropped(net.chosen(bias) if of == "chosen" else bias, *mask)
    net.emit(LinearInteger(), net.value, weight, bias)
    check(net)


def test_masks_of_masks_and_a_mask_that_is_moved() -> None:
    net = DrawsNet((6,), 6, codes(0.03, 20))
    x, weight = net.value, net.weight(10, 6)
    for _ in range(3):
        weight = net.dropped(weight, p=0.2)
    turned = net.emit(Transpose((1, 0)), net.mask(6, 10, shared=True))
    flat = net.emit(Reshape((10, 6)), net.mask(60, shared=True))
    net.value = x
    for mask in (turned, flat):
        weight = net.kept(Select(), weight, mask)
    net.emit(LinearInteger(), x, weight, net.bias(10))
    check(net)


def test_thousands_of_masks() -> None:
    """A recursion for each would overflow the stack."""
    net = DrawsNet((2,), 7, codes(0.03, 20))
    weight, mask = net.weight(2, 2), net.mask(2, 2, shared=True)
    for _ in range(1500):
        weight = net.kept(Select(), weight, mask)
    net.emit(LinearInteger(), net.value, weight, net.bias(2))
    model = net.model()
    assert_equal(model, input_batch(model, 2), samples=3)


@pytest.mark.parametrize(
    "mask",
    [np.ones((10, 6)), np.zeros((1, 6)), np.arange(60).reshape(10, 6) * 4, np.full((10, 1), 255)],
)
def test_masks_that_are_constant(mask: Array) -> None:
    """Any byte that is not 0 keeps its code."""
    net = DrawsNet((6,), 8, codes(0.03, 20))
    kept = net.kept(Select(), net.weight(10, 6, zero=4), net.constant(mask.astype(np.uint8)))
    net.emit(LinearInteger(), net.value, kept, net.bias(10))
    check(net)


def test_codes_under_a_constant_mask() -> None:
    net = DrawsNet((3, 4, 5), 9, codes(0.03, 20))
    for shape in ((3, 4, 5), (3, 1, 1), (3, 4, 1)):
        mask = net.constant(np.arange(np.prod(shape)).reshape(shape).astype(np.uint8))
        net.emit(Select(), net.value, mask)
    check(net)


def test_a_weight_that_leaves_too() -> None:
    net = DrawsNet((4, 5, 5), 10, codes(0.03, 10))
    x, weight = net.value, net.dropped(net.weight(8, 2, 3, 3, zero=3))
    net.emit(Conv2dInteger(groups=2), x, weight, net.bias(8))
    first = net.emit(Dequantize())
    third = net.emit(Dequantize(), net.dropped(net.weight(3, 4, 5), 3, 1, 1))
    model = net.model(first, net.emit(Dequantize(), weight), third)
    assert_equal(model, input_batch(model, 3), samples=4)


def test_a_dropped_number_for_each_row() -> None:
    """Codes of a weight may leave under a mask of each row; layers do not take them."""
    net = DrawsNet((4,), 11, codes(0.03, 10))
    kept = net.kept(Select(), net.weight(5, 6), net.mask(5, 6))
    model = net.model(net.emit(Dequantize(), kept))
    assert_equal(model, input_batch(model, 4), samples=4, first_row=9)


def test_two_fifths_of_the_weights_are_dropped() -> None:
    """The tests here could fail: masks drop something, and not the same in each sample."""
    model = drop_connect()
    values = load(model).trace(input_batch(model, 1), 60)
    first = next(n.output.name for n in model.graph.nodes if isinstance(n.op, Select))
    assert abs(np.mean(values[first] == 0) - 0.4) < 0.05
    assert not np.array_equal(values[first][0], values[first][1])
