"""Tables and products, and blocks that use them: MobileNet, squeeze and excite."""

from itertools import product as combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from qbnnc.ir.graph import Value
from qbnnc.ir.ops import (
    Conv2dInteger,
    Dequantize,
    Function,
    Lookup,
    LookupReal,
    MultiplyInteger,
    Requantize,
    Reshape,
    Select,
    SumPoolInteger,
)
from qbnnc.ir.ops.base import codes_of
from qbnnc.ir.scales import activation_quant
from qbnnc.runtime import load
from qbnnc.runtime.families.contraction.instructions import Depthwise
from qbnnc.runtime.families.quantization import instructions as quantization
from tests.runtime.nets import Net, assert_equal, codes, images
from tests.runtime.sampled import product
from tests.runtime.test_trace import assert_traced


def real(net: Net, function: Function) -> NDArray[np.float32]:
    """Add a table of f for every code of the last value."""
    quant = codes_of(net.value.type)
    scale, zero = quant.per_tensor
    codes = np.arange(quant.high + 1, dtype=np.float64) - zero
    return function(codes * scale, 0.1).astype(np.float32)


def lookup(net: Net, function: Function) -> Value:
    values = real(net, function)
    quant = activation_quant(float(values.min()), float(values.max()), 7)
    scale, zero = quant.per_tensor
    table = np.clip(np.rint(values / scale) + zero, 0, 127).astype(np.uint8)
    return net.emit(Lookup(quant), net.value, net.constant(table))


@pytest.mark.parametrize("shape", [(9,), (3, 4), (3, 4, 5), (1, 4, 4), (2, 2, 2, 3)])
@pytest.mark.parametrize("bits", [2, 7, 8])
def test_tables(shape: tuple[int, ...], bits: int) -> None:
    """A table of every code agrees: as codes, as numbers, and as numbers that are reshaped."""
    net = Net(shape, 1, codes(6 / 2**bits, 2 ** (bits - 1), bits))
    lookup(net, Function.GELU)
    net.dropout(0.2)
    codes_ = net.value
    table = net.constant(real(net, Function.TANH))
    out = net.emit(LookupReal(), codes_, table)
    flat = net.emit(Reshape((out.type.size,)))
    model = net.model(flat, out, net.emit(Dequantize(), codes_))
    assert_equal(model, images(model, 40), samples=2)
    assert_traced(model, images(model, 3), 2)


PRODUCTS = [
    ((3, 4, 5), (3, 4, 5)),
    ((3, 4, 5), (3, 1, 1)),
    ((3, 1, 1), (3, 4, 5)),
    ((3, 1, 1), (1, 4, 5)),
    ((3, 4, 1), (1, 1, 5)),
    ((1, 1, 1), (3, 4, 5)),
    ((7,), (7,)),
    ((7,), (1,)),
    ((3, 4), (3, 1)),
    ((1, 4), (3, 1)),
    ((2, 3, 4, 5), (2, 3, 4, 5)),
    ((2, 3, 4, 5), (1, 3, 1, 5)),
    ((2, 1, 4, 1), (1, 3, 1, 5)),
]


@pytest.mark.few(6)
@pytest.mark.parametrize(("a", "b"), PRODUCTS)
@pytest.mark.parametrize("fused", [False, True])
def test_products(a: tuple[int, ...], b: tuple[int, ...], fused: bool) -> None:
    net = Net(a, 2, codes(0.03, 20))
    x = net.value
    fixed = net.constant(net.rng.integers(0, 128, b).astype(np.uint8), codes(0.02, 50))
    other = net.emit(Select(), fixed, net.mask(*b, shared=True))
    if fused:
        product(net, x, other, 10)
    else:
        net.emit(MultiplyInteger(), x, other)
    model = net.model()
    made = [type(s.instruction) for s in load(model)._plans[0].steps]
    assert quantization.Requantize not in made
    assert_equal(model, images(model, 4), samples=3)


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 1, 1), (3, 4, 5)])
def test_products_with_two_readers_or_many_multipliers(shape: tuple[int, ...]) -> None:
    net = Net((3, 4, 5), 3, codes(0.03, 20))
    acc = net.emit(MultiplyInteger(), net.value, net.dropout(0.3))
    m = net.rng.uniform(0.005, 0.02, shape).astype(np.float32)
    first = net.emit(Requantize(codes(0.1, 30), 0, 127), acc, net.constant(m))
    net.emit(Requantize(codes(0.1, 30), 30, 127), acc, net.constant(m))
    net.add(first, net.value, codes(0.2, 20))
    model = net.model()
    assert_equal(model, images(model, 4), samples=3)
    assert_traced(model, images(model, 4), 3)


def test_product_of_a_value_with_itself() -> None:
    """Products of all codes agree: the squares of the ends are the largest."""
    net = Net((128,), 4, codes(1.0, 64))
    product(net, net.value, net.value)
    x = (np.arange(128) - 64)[None].astype(np.float32)
    assert_equal(net.model(), x)


@pytest.mark.sample(16)
@pytest.mark.few(4)
@pytest.mark.parametrize(
    ("stride", "padding", "dilation", "affine"),
    [*combinations([(1, 1), (2, 3)], [(0, 0, 0, 0), (3, 0, 1, 4)], [(1, 1), (2, 1)], [0, 9])],
)
@pytest.mark.parametrize("channels", [2, 17, 150])
def test_depthwise(
    stride: tuple[int, int],
    padding: tuple[int, int, int, int],
    dilation: tuple[int, int],
    affine: int,
    channels: int,
) -> None:
    net = Net((channels, 6, 7), 5, codes(0.03, 33))
    weight = net.weight(channels, 1, 3, 2, zero=affine)
    net.accumulators(Conv2dInteger(stride, padding, dilation, channels), weight)
    net.requantize(codes(0.03, 50))
    acc = net.accumulators(
        Conv2dInteger(groups=channels, folded=True), net.weight(channels, 1, 1, 1)
    )
    model = net.model(net.emit(Dequantize(), acc))
    plan = load(model)._plans[0]
    assert [type(s.instruction) for s in plan.steps].count(Depthwise) == 2
    assert_equal(model, images(model, 3))


def mobilenet(rows: int = 0) -> Net:
    """An inverted residual with squeeze and excite, hard swish and dropout."""
    net = Net((8, 7, 7), rows, codes(0.04, 60))
    x = net.value
    net.conv(24, 1)
    net.requantize(codes(0.3, 64))
    lookup(net, Function.HARDSWISH)
    op = Conv2dInteger((1, 1), (1, 1, 1, 1), (1, 1), 24)
    net.conv(24, 3, op)
    wide = net.requantize(codes(0.5, 50))
    net.dropout(0.2, 24, 1, 1)
    net.emit(SumPoolInteger((7, 7), (1, 1)))
    net.emit(
        Requantize(codes(0.1, 60), 0, 127),
        net.value,
        net.constant(np.array([0.5 / 4.9], np.float32)),
    )
    net.conv(6, 1)
    net.requantize(codes(0.05))
    net.conv(24, 1)
    net.requantize(codes(0.1, 64))
    gate = lookup(net, Function.HARDSIGMOID)
    product(net, wide, gate, 30)
    net.conv(8, 1)
    branch = net.requantize(codes(0.3, 60))
    net.add(branch, x, codes(0.3, 60))
    return net


@pytest.mark.parametrize("rows", [0, 1, 7, 30])
def test_mobilenet(rows: int) -> None:
    net = mobilenet(rows)
    net.emit(LookupReal(), net.value, net.constant(real(net, Function.TANH)))
    model = net.model(net.value)
    x = images(model, rows)
    assert_equal(model, x, samples=4, seed=1, first_row=9, batch_size=None if rows < 30 else 8)
    assert_traced(model, x, 4)
    if rows:
        for name, value in load(model).trace(x, 4).items():
            if value.dtype == np.uint8 and "mask" not in name:
                assert len(np.unique(value)) > 5, name
