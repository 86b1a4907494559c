"""Quantisation points around a softmax: 8 bits at every width, and none before it in products."""

from __future__ import annotations

import pytest

from qbnnc.ir.graph import Graph, Value
from qbnnc.ir.ops import Gather, MatMul, Multiply, Op, ScaledSoftmax
from qbnnc.passes.options import Bits, Quantisation
from qbnnc.passes.ranges.quantisation_points import quantisation_points
from qbnnc.support.errors import Loc
from tests.net import Net

NARROW = Quantisation(Bits(4, 4))


def gated() -> Net:
    """A layer, a softmax of it, and a layer."""
    net = Net((6,)).linear(4, "scores").emit(ScaledSoftmax(), name="softmax").linear(5, "after")
    return net.relu("after.relu")


def bits(graph: Graph, how: Quantisation = NARROW) -> dict[str, int]:
    return {point.value.name: point.bits(how) for point in quantisation_points(graph)}


def test_a_softmax_and_what_it_alone_reads_have_8_bits() -> None:
    made = bits(gated().linear(2, "last").graph())
    assert made == {"input": 8, "scores": 8, "softmax": 8, "after.relu": 4}


def test_bits_of_a_layer_come_first() -> None:
    how = Quantisation(Bits(4, 4), layers={"softmax": Bits(8, 5), "scores": Bits(8, 3)})
    made = bits(gated().linear(2, "last").graph(), how)
    assert made == {"input": 8, "scores": 3, "softmax": 5, "after.relu": 4}


def product(op: Op, *, read_again: bool = False, leaves: bool = False) -> Graph:
    """A softmax of a product of two values; a layer may read the product too, or it may leave."""
    net, loc = Net((3, 3)), Loc("product")
    x = net.value
    turned = net.emit(Gather(1, (2, 1, 0)), name="turned").value
    net.value = acc = net.build.emit(op, x, turned, loc=loc, name="product")
    softmax = net.emit(ScaledSoftmax(0.5), name="softmax").value
    outputs: list[Value] = [softmax]
    if read_again:
        net.value = acc
        outputs.append(net.flatten("flat").linear(2, "last").value)
    if leaves:
        outputs.append(acc)
    return net.graph(*outputs)


@pytest.mark.parametrize("op", [Multiply(), MatMul(), MatMul(True)])
def test_a_product_that_only_a_softmax_reads_is_no_point(op: Op) -> None:
    assert bits(product(op)) == {"input": 8, "softmax": 8}


@pytest.mark.parametrize(("again", "leaves"), [(True, False), (False, True)])
def test_a_product_that_is_read_elsewhere_is_a_point(again: bool, leaves: bool) -> None:
    made = bits(product(Multiply(), read_again=again, leaves=leaves))
    assert made.keys() == {"input", "product", "softmax"}
