"""Masks of one stream and deviations of either sign: oracle == onnxruntime == runtime."""

from __future__ import annotations

import numpy as np
import pytest

from qbnnc.ir.graph import Graph, Value
from qbnnc.ir.ops import Add, Conv2d, KeepMask, Linear, Mask, Normal, SampledWeight
from qbnnc.passes.options import Bits, MaskSharing, Quantisation
from qbnnc.passes.pipeline import Options
from qbnnc.support.errors import Loc
from tests.conformance.test_conformance import QUICK, Case, compiled
from tests.graphs import inputs
from tests.net import Net

LOC = Loc("noise", "net.py:1")


def masked(net: Net, x: Value, op: KeepMask, name: str, scale: float = 1.0) -> Value:
    keep = net.build.emit(op, loc=LOC, name=f"{name}.keep")
    return net.build.emit(Mask(scale), x, keep, loc=LOC, name=name)


def total(net: Net, a: Value, b: Value, name: str) -> Value:
    return net.build.emit(Add(), a, b, loc=LOC, name=name)


def either_path(p: float = 0.3, *, shared: bool = False) -> Graph:
    """Two layers, of which each element of each row takes one."""
    net = Net((10,)).linear(12, "enter").relu("relu")
    x = net.value
    a = masked(net, net.linear(16, "a").value, KeepMask((16,), p, 0, shared), "first")
    net.value = x
    op = KeepMask((16,), 1 - p, 0, shared, inverted=True)
    net.value = total(net, a, masked(net, net.linear(16, "b").value, op, "second"), "add")
    return net.relu("relu2").linear(3, "fc").graph()


def nested_channels() -> Graph:
    """Masks of one stream with three probabilities, as [C, 1, 1] and, at the end, as [C]."""
    net = Net((2, 8, 8)).conv(6, 3, "conv", Conv2d(padding=(1, 1, 1, 1))).relu("relu")
    x = net.value
    ops = KeepMask((6, 1, 1), 0.25, 0), KeepMask((6, 1, 1), 0.5, 0, inverted=True)
    pair = [masked(net, x, op, f"mask{i}", 1 / (1 - op.p)) for i, op in enumerate(ops)]
    net.value = total(net, pair[0], pair[1], "add")
    net.max_pool("pool").average_pool("mean").flatten("flatten").linear(6, "fc")
    net.value = masked(net, net.value, KeepMask((6,), 0.75, 0, inverted=True), "last")
    return net.linear(3, "leave").graph()


def inverted_pixels() -> Graph:
    """A mask of low lanes alone, one an element of an image."""
    net = Net((2, 6, 6)).conv(3, 3, "conv").relu("relu")
    net.value = masked(net, net.value, KeepMask((3, 4, 4), 0.4, 0, inverted=True), "drop")
    return net.flatten("flatten").linear(3, "fc").graph()


def rarely(inverted: bool) -> Graph:
    """Probabilities so near 0 and 1 that all lanes, or none, are kept."""
    net = Net((6,)).linear(8, "enter").relu("relu")
    x = net.value
    ops = (KeepMask((8,), p, i, inverted=inverted) for i, p in enumerate((0.0, 1e-7, 1 - 1e-7)))
    a, b, c = (masked(net, x, op, f"mask{i}") for i, op in enumerate(ops))
    net.value = total(net, total(net, a, b, "add"), c, "sum")
    return net.linear(3, "fc").graph()


def siamese(*, image: bool = False) -> Graph:
    """Two layers of one eps, the deviation of the second negated, some of either negative."""
    net = Net((3, 6, 6) if image else (8,))
    shape = (4, 3, 3, 3) if image else (4, 8)
    op: Conv2d | Linear = Conv2d() if image else Linear()
    eps = net.build.emit(Normal(shape, 0), loc=LOC, name="eps")
    mu, sigma = net.rng.normal(size=shape), net.rng.uniform(-0.1, 0.4, shape)
    x, made = net.value, list[Value]()
    for name, sign in (("a", 1.0), ("b", -1.0)):
        pair = [
            net.build.constant(f"{name}.{what}", (sign * array).astype(np.float32))
            for what, array in (("mu", mu), ("sigma", sigma))
        ]
        weight = net.build.emit(SampledWeight(), *pair, eps, loc=LOC, name=f"{name}.weight")
        net.value = x
        net.emit(op, weight, net.constant(f"{name}.bias", 4), name=name).batch_norm(f"{name}.bn")
        made.append(net.value)
    net.value = total(net, made[0], made[1], "add")
    if image:
        net.flatten("flatten")
    return net.linear(3, "fc").graph()


GRAPHS = {
    "either path": either_path(),
    "half": either_path(0.5),
    "shared": either_path(shared=True),
    "nested channels": nested_channels(),
    "inverted pixels": inverted_pixels(),
    "rarely": rarely(inverted=False),
    "rarely inverted": rarely(inverted=True),
    "siamese": siamese(),
    "siamese images": siamese(image=True),
}


@pytest.mark.sample(9)
@pytest.mark.few(3)
@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("width", [Bits(8, 7), Bits(4, 4)])
def test_the_same_bits_everywhere(name: str, width: Bits) -> None:
    graph = GRAPHS[name]
    for sharing in MaskSharing:
        how = Quantisation(width, mask_sharing=sharing)
        case = Case.of(compiled(graph, Options(how, 5, calibration=QUICK)))
        case.check(inputs(graph, 6, seed=3), seed=11, first_row=2)
