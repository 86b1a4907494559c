"""Values that no weight multiplies before a norm, and their bits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from qbnnc.ir.graph import Graph, Value
from qbnnc.ir.ops import Add, Clamp, MatMul, Normalize, Reshape
from qbnnc.passes.options import Bits, Quantisation
from qbnnc.passes.ranges.quantisation_points import quantisation_points
from qbnnc.support.errors import Loc
from tests.graphs import dense, resnet, unet
from tests.net import Net


class NormNet(Net):
    """A network of layers, sums and norms of vectors."""

    def norm(self, name: str) -> Value:
        constants = [
            self.build.constant(f"{name}.{what}", np.full((1,), number, np.float32))
            for what, number in (("weight", 1.0), ("bias", 0.0))
        ]
        op = Normalize(1, 1e-5)
        self.value = self.build.emit(op, self.value, *constants, loc=Loc(name), name=name)
        return self.value

    def add(self, a: Value, b: Value, name: str) -> Value:
        self.value = self.build.emit(Add(), a, b, loc=Loc(name), name=name)
        return self.value


def block(net: NormNet, x: Value, name: str) -> Value:
    """x + fc(norm(x))."""
    net.value = x
    net.norm(f"{name}.norm")
    return net.add(x, net.linear(6, f"{name}.fc").value, f"{name}.add")


def pre_norm() -> NormNet:
    net = NormNet((4,))
    x = net.linear(6, "enter").value
    for name in ("a", "b"):
        x = block(net, x, name)
    net.norm("last")
    net.linear(3, "head")
    return net


def bits(net: NormNet, options: Quantisation) -> dict[str, int]:
    points = quantisation_points(net.graph())
    return {point.value.name: point.bits(options) for point in points}


def test_the_trunk_of_a_pre_norm_network_has_8_bits() -> None:
    assert bits(pre_norm(), Quantisation(Bits(8, 7))) == {
        "input": 8, "enter": 8, "a.norm": 7, "a.fc": 8, "a.add": 8, "b.norm": 7, "b.fc": 8,
        "b.add": 8, "last": 7,
    }  # fmt: skip


def test_options_come_first() -> None:
    options = Quantisation(Bits(8, 4), residual_bits=5, layers={"a.fc": Bits(8, 3)})
    found = bits(pre_norm(), options)
    assert (found["a.add"], found["a.fc"], found["b.fc"], found["a.norm"]) == (5, 3, 5, 4)


def test_a_sum_that_a_layer_reads_too_is_no_such_value() -> None:
    net = NormNet((4,))
    x = net.linear(6, "enter").value
    y = block(net, x, "a")
    net.linear(6, "other")
    net.add(net.value, y, "sum")
    net.norm("last")
    net.linear(3, "head")
    found = bits(net, Quantisation(Bits(8, 7)))
    assert (found["enter"], found["a.add"], found["sum"], found["other"]) == (7, 7, 8, 8)


def test_a_norm_that_leaves_has_8_bits() -> None:
    net = NormNet((4,))
    net.linear(6, "enter")
    net.norm("last")
    assert bits(net, Quantisation(Bits(8, 7))) == {"input": 8, "enter": 8, "last": 8}


def test_a_clamp_between_changes_nothing() -> None:
    net = NormNet((4,))
    net.linear(6, "enter")
    net.value = net.build.emit(Clamp(0.0, None), net.value, loc=Loc("relu"), name="relu")
    net.norm("norm")
    net.linear(3, "head")
    assert bits(net, Quantisation(Bits(8, 7))) == {"input": 8, "relu": 8, "norm": 7}


@pytest.mark.parametrize("network", [resnet, unet, dense])
def test_networks_without_norms_have_no_such_value(network: Callable[[], Graph]) -> None:
    assert not any(point.unweighted for point in quantisation_points(network()))


def product_net(*, layer: bool) -> NormNet:
    """A product of a value with itself; `layer`: a layer reads the value, too."""
    net = NormNet((4,))
    net.linear(8, "enter")
    wide = net.value
    net.emit(Reshape((2, 4)), name="matrix")
    net.emit(MatMul(True), net.value, name="scores").flatten("flat").linear(8, "head")
    if layer:
        head, net.value = net.value, wide
        net.add(net.linear(8, "other").value, head, "sum")
    return net


def test_factors_of_a_product_have_8_bits_unless_a_layer_reads_them() -> None:
    """The product itself is for a layer to read."""
    found = bits(product_net(layer=False), Quantisation(Bits(8, 7)))
    assert (found["enter"], found["scores"]) == (8, 7)
    assert bits(product_net(layer=True), Quantisation(Bits(8, 7)))["enter"] == 7
