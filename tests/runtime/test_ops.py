"""Every op and every parameter against the oracle, in one small graph each."""

from itertools import product

import numpy as np
import pytest

from qbnnc.ir.graph import Value
from qbnnc.ir.head import Task
from qbnnc.ir.ops import (
    ClampCodes,
    Conv2dInteger,
    Dequantize,
    LinearInteger,
    MaxPool2d,
    QuantizeInput,
    Requantize,
    Reshape,
    Select,
    SumPoolInteger,
)
from qbnnc.ir.types import QuantParams
from tests.runtime.nets import Net, assert_equal, codes, images

PADDINGS = [(0, 0, 0, 0), (1, 1, 1, 1), (0, 2, 1, 0), (3, 0, 0, 4)]


@pytest.mark.sample(24)
@pytest.mark.few(6)
@pytest.mark.parametrize(
    ("stride", "padding", "dilation", "kernel"),
    list(product([(1, 1), (2, 1), (2, 3)], PADDINGS, [(1, 1), (2, 1), (1, 2)], [(1, 1), (3, 2)])),
)
def test_convolution_geometry(
    stride: tuple[int, int],
    padding: tuple[int, int, int, int],
    dilation: tuple[int, int],
    kernel: tuple[int, int],
) -> None:
    net = Net((3, 7, 6), 1, codes(0.03, 17))
    net.accumulators(Conv2dInteger(stride, padding, dilation), net.weight(5, 3, *kernel))
    net.requantize(codes(0.03, 40))
    model = net.model()
    assert_equal(model, images(model, 3))


@pytest.mark.few(6)
@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize("affine", [0, 9])
@pytest.mark.parametrize("tensor", [False, True])
@pytest.mark.parametrize(("channels", "filters", "groups"), [(6, 6, 6), (6, 12, 3), (4, 2, 2)])
def test_groups_and_weights(
    folded: bool, affine: int, tensor: bool, channels: int, filters: int, groups: int
) -> None:
    net = Net((channels, 5, 5), 2, codes(0.03, 33))
    op = Conv2dInteger((1, 1), (1, 0, 1, 2), (1, 1), groups, folded)
    net.accumulators(op, net.weight(filters, channels // groups, 3, 3, zero=affine, tensor=tensor))
    net.requantize(codes(0.04, 50), low=50)
    model = net.model()
    assert_equal(model, images(model, 2))


@pytest.mark.sample(20)
@pytest.mark.few(6)
@pytest.mark.parametrize("affine", [0, 5])
@pytest.mark.parametrize("inputs", [1, 3, 4, 13, 130])
@pytest.mark.parametrize("features", [1, 16, 17, 128, 129, 300])
def test_linear_sizes(affine: int, inputs: int, features: int) -> None:
    net = Net((inputs,), 3, codes(0.03, 33))
    net.accumulators(LinearInteger(), net.weight(features, inputs, zero=affine))
    net.requantize(codes(0.05, 60))
    net.linear(4)
    model = net.model()
    assert_equal(model, images(model, 6))


@pytest.mark.few(4)
@pytest.mark.parametrize(("w", "a"), list(product([2, 3, 5, 8], [2, 4, 7, 8])))
def test_bit_widths(w: int, a: int) -> None:
    net = Net((3, 6, 6), 4, codes(4 / 2**a, 1, a))
    net.accumulators(Conv2dInteger(), net.weight(8, 3, 3, 3, bits=w))
    net.requantize(codes(0.1 * 2.0 ** (w - a), 1, a))
    net.flatten()
    net.accumulators(LinearInteger(), net.weight(6, 128, bits=w))
    model = net.model()
    assert_equal(model, images(model, 5))


def test_widest_codes_do_not_saturate() -> None:
    """The sum of 400 products 255 * -128 is exact, although two exceed int16."""
    net = Net((400,), 0, codes(1.0, 0, 8))
    quant = QuantParams((1.0,), (0,), -128, 127)
    weight = net.constant(np.full((3, 400), -128, np.int8), quant)
    net.emit(LinearInteger(), net.value, weight, net.constant(np.zeros(3, np.int32)))
    assert_equal(net.model(), np.full((5, 400), 255, np.float32))


@pytest.mark.few(5)
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("shape", [(3,), (3, 4, 5), (1, 4, 4), (3, 1, 1), (3, 4)])
@pytest.mark.parametrize("offset", [0.0, 0.4])
def test_input_quantiser(count: int, shape: tuple[int, ...], offset: float) -> None:
    net = Net(shape)
    count = min(count, shape[0])
    scale = tuple(float(np.float32(0.02 * (i + 1))) for i in range(count))
    offsets = tuple(float(np.float32(offset * i)) for i in range(count)) if offset else (0.0,)
    net.emit(QuantizeInput(offsets, scale, codes(0.02, 9), 3, 120), net.input)
    model = net.model()
    x = np.random.default_rng(0).uniform(-2, 4, (6, *shape)).astype(np.float32)
    x[0], x[1].flat[0] = np.inf, -np.inf
    x[2] = np.rint(x[2] / np.float32(0.02)) * np.float32(0.02) + np.float32(0.01)
    assert_equal(model, x)


@pytest.mark.sample(48)
@pytest.mark.few(6)
@pytest.mark.parametrize("op", [MaxPool2d, SumPoolInteger])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation"),
    list(product([(1, 1), (2, 3), (3, 3)], [(1, 1), (2, 1), (3, 2)], PADDINGS, [(1, 1), (1, 2)])),
)
def test_pools(
    op: type[MaxPool2d] | type[SumPoolInteger],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int, int, int],
    dilation: tuple[int, int],
) -> None:
    net = Net((5, 6, 7), 5, codes(0.03, 30))
    net.emit(op(kernel, stride, padding, dilation))
    model = net.model()
    assert_equal(model, images(model, 3))


def test_average_with_counts_of_the_positions_inside() -> None:
    net = Net((3, 6, 6), 6, codes(0.03, 30))
    pool = SumPoolInteger((3, 3), (2, 2), (1, 1, 1, 1))
    counts = pool.positions_inside(6, 6).astype(np.float32)
    acc = net.emit(pool)
    factor = net.constant((np.float32(1.3) / counts)[None])
    net.emit(Requantize(codes(0.02, 20), 0, 127), acc, factor)
    model = net.model()
    assert_equal(model, images(model, 4))


@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (3, 1, 1), (1, 5, 1), (1, 1, 4), (3, 1, 4), (1, 5, 4), (3, 5, 4)]
)
def test_multipliers_of_any_shape(shape: tuple[int, ...]) -> None:
    net = Net((2, 5, 4), 7)
    acc = net.conv(3, 1)
    factor = net.rng.uniform(0.01, 0.05, shape).astype(np.float32)
    net.emit(Requantize(codes(0.02, 60), 5, 120), acc, net.constant(np.asarray(factor)))
    model = net.model()
    assert_equal(model, images(model, 3))


@pytest.mark.parametrize(
    "shapes",
    [
        [(60,)],
        [(3, 20)],
        [(60,), (3, 4, 5)],
        [(5, 4, 3)],
        [(12, 5), (1, 6, 10)],
        [(60, 1, 1), (60,)],
        [(3, 4, 5)],
    ],
)
@pytest.mark.parametrize("wide", [False, True])
def test_reshapes(shapes: list[tuple[int, ...]], wide: bool) -> None:
    """Reshapes work on codes, accumulators and outputs."""
    net = Net((3, 4, 5), 9)
    codes_ = net.value
    if wide:
        net.emit(SumPoolInteger((1, 1), (1, 1)))
    for shape in shapes:
        net.emit(Reshape(shape))
    first = net.emit(Dequantize())
    net.value = codes_
    net.emit(Dequantize())
    for shape in shapes:
        net.emit(Reshape(shape))
    model = net.model(first, net.value)
    assert_equal(model, images(model, 3))


def test_input_and_mask_are_reshaped() -> None:
    net = Net((12,))
    image = net.emit(Reshape((3, 2, 2)), net.input)
    net.emit(QuantizeInput((0.0,), codes(0.03).scale, codes(0.03), 0, 127), image)
    net.emit(Select(), net.value, net.emit(Reshape((3, 2, 2)), net.mask(12)))
    x = np.random.default_rng(0).uniform(0, 4, (5, 12)).astype(np.float32)
    # the first node in order is the helper's own quantiser, which nobody reads
    assert_equal(net.model(), x, samples=3)


def test_clamp() -> None:
    net = Net((40,))
    net.emit(ClampCodes(10, 90))
    model = net.model()
    assert_equal(model, images(model, 3))


@pytest.mark.parametrize("zeros", [(0, 0, 0), (64, 3, 127)])
def test_residual_sum_of_all_pairs_of_codes(zeros: tuple[int, int, int]) -> None:
    """Sums of all 128 x 128 pairs agree, with scales that make exact ties of many."""
    pairs = np.stack(np.meshgrid(np.arange(128), np.arange(128)), -1).reshape(-1, 2)
    net = Net((2, 1, 1), 0, codes(0.25, zeros[0]))
    eye = QuantParams((1.0, 1.0), (0, 0), -1, 1, 0)
    values = list[Value]()
    for i, quant in enumerate((codes(0.25, zeros[0]), codes(0.5, zeros[1]))):
        pick = np.zeros((1, 2, 1, 1), np.int8)
        pick[0, i] = 1
        one = QuantParams(eye.scale[:1], (0,), -1, 1, 0)
        start, quantised = net.value, net.constant(np.zeros(1, np.int32))
        acc = net.emit(Conv2dInteger(), start, net.constant(pick, one), quantised)
        factor = net.constant(np.ones((1, 1, 1), np.float32))
        values.append(net.emit(Requantize(quant, 0, 127), acc, factor))
        net.value = start
    net.add(values[0], values[1], codes(0.4, zeros[2]))
    x = (pairs - zeros[0])[:, :, None, None] * np.float32(0.25)
    assert_equal(net.model(), x.astype(np.float32))


def test_accumulators_with_several_readers() -> None:
    net = Net((2, 5, 5))
    acc = net.conv(4, 3)
    a = net.requantize(codes(0.05, 60))
    net.value = acc
    b = net.requantize(codes(0.09, 10), low=10)
    net.add(a, b, codes(0.1, 50))
    total, plain = net.emit(Dequantize()), net.emit(Dequantize(), acc)
    model = net.model(total, plain, net.emit(Dequantize(), a))
    assert_equal(model, images(model, 3))


def test_outputs_of_every_kind() -> None:
    """Outputs of each kind agree: an input, a constant, a repeated, reshaped or invariant value."""
    net = Net((3, 4, 4), 3)
    fixed = net.constant(np.arange(6, dtype=np.float32))
    ones = net.constant(np.full((3, 4, 4), 9, np.uint8), codes(0.5, 3))
    codes_ = net.value
    per_sample = net.emit(Select(), ones, net.mask(3, 1, 1, shared=True))
    sample = net.emit(Dequantize())
    net.emit(Select(), codes_, net.mask(3, 4, 4))
    net.flatten()
    net.linear(4)
    out = net.emit(Dequantize())
    flat = net.emit(Reshape((2, 2)))
    row, nothing = net.emit(Dequantize(), codes_), net.emit(Dequantize(), ones)
    net.add(per_sample, codes_, codes(0.3, 9))
    both = net.emit(Dequantize())
    outputs = (net.input, fixed, sample, out, flat, out, row, nothing, both)
    model = net.model(*outputs, task=Task.RAW)
    assert_equal(model, images(model, 4), samples=3, batch_size=2)
    assert_equal(model, images(model, 4), samples=1)


def test_constant_operands() -> None:
    net = Net((3, 2, 2), 3)
    quant = codes(0.1, 7)
    fixed = net.constant(net.rng.integers(0, 128, (3, 2, 2)).astype(np.uint8), quant)
    net.add(net.value, fixed, codes(0.12, 20))
    keep = net.constant(np.array([1, 0, 1], np.uint8).reshape(3, 1, 1))
    net.emit(Select(), net.value, keep)
    random = net.dropout(0.4)
    net.add(fixed, random, codes(0.12, 20))
    model = net.model()
    assert_equal(model, images(model, 4), samples=3)
