"""The numpy meaning of ops against PyTorch (FLOAT) and against sums written out (INTEGER)."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from qbnnc.ir.ops import (
    AddQuantized,
    AveragePool2d,
    BatchNorm,
    ClampCodes,
    Conv2d,
    Conv2dInteger,
    Gather,
    LinearInteger,
    MaxPool2d,
    MaxUnpool,
    Op,
    QuantizeInput,
    Select,
    Softmax,
    SumPoolInteger,
    Tensor,
)
from qbnnc.ir.ops.base import DeterministicOp
from qbnnc.ir.types import (
    PER_ROW,
    PER_ROW_AND_SAMPLE,
    Array,
    Axis,
    DType,
    QuantParams,
    TensorType,
)

CODES = QuantParams((0.5,), (3,), 0, 127)


def tensor(array: Array, quant: QuantParams | None = None, *, constant: bool = False) -> Tensor:
    """An array [L, B, *shape], or a constant [*shape]."""
    data = array[None, None] if constant else array
    axes = frozenset[Axis]() if constant else PER_ROW_AND_SAMPLE
    type_ = TensorType(DType.of(array.dtype), data.shape[2:], axes, quant)
    return Tensor(data, type_)


def evaluated(op: Op, *inputs: Tensor) -> Array:
    """The op's value, after its type has been inferred; the two must fit."""
    assert isinstance(op, DeterministicOp)
    type_, value = op.infer(*(i.type for i in inputs)), op.evaluate(*inputs)
    assert value.shape[2:] == type_.shape
    assert value.dtype == type_.dtype.numpy
    return value


geometry = st.tuples(
    st.tuples(st.integers(1, 2), st.integers(1, 2)),  # stride
    st.tuples(*[st.integers(0, 2)] * 4),  # padding
    st.tuples(st.integers(1, 2), st.integers(1, 2)),  # dilation
    st.sampled_from([1, 2, 4]),  # groups
    st.integers(0, 999),
)


@given(geometry)
def test_conv2d_is_torchs(
    case: tuple[tuple[int, int], tuple[int, int, int, int], tuple[int, int], int, int],
) -> None:
    stride, padding, dilation, groups, seed = case
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2, 3, 4, 7, 6)).astype(np.float32)
    w = rng.normal(size=(8, 4 // groups, 3, 2)).astype(np.float32)
    b = rng.normal(size=8).astype(np.float32)
    op = Conv2d(stride, padding, dilation, groups)
    found = evaluated(op, tensor(x), tensor(w, constant=True), tensor(b, constant=True))
    top, left, bottom, right = padding
    padded = F.pad(torch.from_numpy(x.reshape(6, 4, 7, 6)), (left, right, top, bottom))
    expected = F.conv2d(
        padded, torch.from_numpy(w), torch.from_numpy(b), stride, 0, dilation, groups
    )
    np.testing.assert_allclose(found.reshape(expected.shape), expected, atol=1e-5)


@pytest.mark.parametrize("include", [True, False])
@pytest.mark.parametrize("padding", [0, 1])
def test_pools_are_torchs(include: bool, padding: int) -> None:
    x = np.random.default_rng(0).normal(size=(1, 2, 3, 9, 8)).astype(np.float32)
    t, pads = torch.from_numpy(x[0]), (padding,) * 4
    average = AveragePool2d((3, 2), (2, 2), pads, count_include_pad=include)
    if padding == 1:
        average = AveragePool2d((3, 2), (2, 2), pads, (1, 1), include)
    np.testing.assert_allclose(
        evaluated(average, tensor(x))[0],
        F.avg_pool2d(t, (3, 2), 2, padding, count_include_pad=include),
        atol=1e-6,
    )
    largest = MaxPool2d((3, 2), (2, 1), pads)
    found = evaluated(largest, tensor(x))[0]
    assert (found == F.max_pool2d(t, (3, 2), (2, 1), padding).numpy()).all()


def test_average_pool_divides_by_what_it_is_given() -> None:
    x = np.arange(24, dtype=np.float32).reshape(1, 1, 1, 4, 6)
    total = AveragePool2d((4, 6), (1, 1), divisors=(1.0,))
    assert evaluated(total, tensor(x)).item() == 276
    each = AveragePool2d((4, 3), (4, 3), divisors=(2.0, 4.0))
    assert evaluated(each, tensor(x)).reshape(-1).tolist() == [120 / 2, 156 / 4]


@pytest.mark.parametrize("divisors", [(0.0,), (1.0, 2.0), (math.inf,), (math.nan,), (-1.0,)])
def test_divisors_that_are_none_are_refused(divisors: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="divides"):
        AveragePool2d((4, 6), (1, 1), divisors=divisors).infer(
            TensorType(DType.F32, (1, 4, 6), PER_ROW)
        )


def test_gather_takes_elements_along_an_axis() -> None:
    x = np.arange(6, dtype=np.float32).reshape(1, 1, 2, 3)
    taken = evaluated(Gather(1, (2, 0, 2)), tensor(x))
    assert taken[0, 0].tolist() == [[2, 0, 2], [5, 3, 5]]


@pytest.mark.parametrize(
    "op",
    [Gather(2, (0,)), Gather(-1, (0,)), Gather(0, ()), Gather(1, (3,)), Gather(0, (-1,))],
)
def test_gather_outside_its_axis_is_refused(op: Gather) -> None:
    with pytest.raises(ValueError, match=r"along axis|does not have"):
        op.infer(TensorType(DType.F32, (2, 3), PER_ROW))


def test_gather_of_more_than_a_value_holds_is_refused() -> None:
    large = TensorType(DType.F32, (1, 1 << 20), PER_ROW)
    with pytest.raises(ValueError, match="the number of elements of a value: 1048576000"):
        Gather(0, (0,) * 1000).result(large)


def test_batch_norm_and_softmax_are_torchs() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1, 4, 3, 5, 5)).astype(np.float32)
    weight, bias, mean = (rng.normal(size=3).astype(np.float32) for _ in range(3))
    var = rng.uniform(0.1, 2, 3).astype(np.float32)
    parameters = (tensor(a, constant=True) for a in (weight, bias, mean, var))
    t = torch.from_numpy(x[0])
    m, v, w, b = (torch.from_numpy(a) for a in (mean, var, weight, bias))
    np.testing.assert_allclose(
        evaluated(BatchNorm(1e-3), tensor(x), *parameters)[0],
        F.batch_norm(t, m, v, w, b, eps=1e-3),
        atol=1e-5,
    )
    for log, function in ((False, F.softmax), (True, F.log_softmax)):
        found = evaluated(Softmax(0, log), tensor(x))[0]
        np.testing.assert_allclose(found, function(t, 1), atol=1e-6)


@given(
    st.integers(0, 999), st.integers(0, 255), st.sampled_from([1, 2]), st.booleans(), st.booleans()
)
def test_conv2d_integer_is_equation_2(
    seed: int, zero_x: int, groups: int, channels: bool, folded: bool
) -> None:
    """acc = sum (q_x - Z_x)(q_w - Z_w) + q_b, written as loops over int64."""
    rng = np.random.default_rng(seed)
    q = rng.integers(0, 256, (1, 2, 4, 5, 4), np.uint8)
    w = rng.integers(-128, 128, (4, 4 // groups, 2, 3), np.int8)
    b = rng.integers(-(2**20), 2**20, 4).astype(np.int32)
    zeros = tuple(map(int, rng.integers(-128, 128, 4 if channels else 1)))
    weights = QuantParams((0.25,) * len(zeros), zeros, -128, 127, 0 if channels else None)
    x = tensor(q, QuantParams((0.5,), (zero_x,), 0, 255))
    centred = w.astype(np.int64) - weights.zero_point_array(4)
    bias = (b - zero_x * centred.reshape(4, -1).sum(axis=1)).astype(np.int32) if folded else b
    op = Conv2dInteger((2, 1), (1, 0, 0, 2), (1, 1), groups, folded)
    found = evaluated(op, x, tensor(w, weights, constant=True), tensor(bias, constant=True))
    padded = np.pad(q.astype(np.int64) - zero_x, [(0, 0)] * 3 + [(1, 0), (0, 2)])
    for n, i, j in product(range(4), range(found.shape[3]), range(found.shape[4])):
        first = n // (4 // groups) * (4 // groups)
        window = padded[0, :, first : first + 4 // groups, 2 * i : 2 * i + 2, j : j + 3]
        expected = (window * centred[n]).sum(axis=(1, 2, 3)) + b[n]
        assert (found[0, :, n, i, j] == expected).all()


def test_accumulators_beyond_two_to_the_24_are_exact() -> None:
    """float32 would round these sums; the oracle must not."""
    q = np.full((1, 1, 4097), 255, np.uint8)
    w = np.full((1, 4097), 127, np.int8)
    w[0, 0] = 1
    x = tensor(q, QuantParams((1.0,), (0,), 0, 255))
    weight = tensor(w, QuantParams((1.0,), (0,), -127, 127), constant=True)
    bias = tensor(np.array([1], np.int32), constant=True)
    expected = 255 * 127 * 4096 + 255 + 1
    assert evaluated(LinearInteger(), x, weight, bias)[0, 0, 0] == expected


def test_an_accumulator_that_leaves_int32_is_an_error() -> None:
    x = tensor(np.full((1, 1, 70000), 255, np.uint8), QuantParams((1.0,), (0,), 0, 255))
    weight = tensor(
        np.full((1, 70000), 127, np.int8), QuantParams((1.0,), (0,), -127, 127), constant=True
    )
    with pytest.raises(OverflowError, match="int32"):
        evaluated(LinearInteger(), x, weight, tensor(np.zeros(1, np.int32), constant=True))


def test_sum_pool_counts_padding_as_zero() -> None:
    q = np.full((1, 1, 1, 2, 2), 10, np.uint8)
    sums = evaluated(SumPoolInteger((2, 2), (2, 2), (1, 1, 1, 1)), tensor(q, CODES))
    assert (sums == 10 - 3).all()


def test_max_pool_of_codes_ignores_padding() -> None:
    q = np.zeros((1, 1, 1, 2, 2), np.uint8)
    pooled = evaluated(MaxPool2d((2, 2), (2, 2), (1, 1, 1, 1)), tensor(q, CODES))
    assert (pooled == 0).all()


def test_unpooling_puts_codes_at_the_first_maximum_and_the_zero_point_elsewhere() -> None:
    x = np.array([[[[[3, 9, 1, 1], [9, 2, 1, 1]]]]], np.uint8)
    v = np.array([[[[[7, 0]]]]], np.uint8)
    zero = CODES.per_tensor[1]
    found = evaluated(MaxUnpool((2, 2)), tensor(v, CODES), tensor(x, CODES))[0, 0]
    assert found.tolist() == [[[zero, 7, 0, zero], [zero, zero, zero, zero]]]
    wide = tensor(x[..., :3], CODES)
    with pytest.raises(ValueError, match="an element for each window"):
        MaxUnpool((2, 2)).infer(tensor(v, CODES).type, wide.type)


def test_select_puts_the_zero_point() -> None:
    q = tensor(np.array([[[9, 8, 7]]], np.uint8), CODES)
    mask = Tensor(np.array([[[1, 0, 1]]], np.uint8), TensorType(DType.U8, (3,), PER_ROW))
    op = Select(1.25)
    assert evaluated(op, q, mask).tolist() == [[[9, 3, 7]]]
    quant = op.infer(q.type, mask.type).quant
    assert quant is not None
    assert quant.scale == (0.625,)


def test_add_quantized_rounds_once() -> None:
    a = tensor(np.array([[[10]]], np.uint8), CODES)  # 3.5
    b = tensor(np.array([[[4]]], np.uint8), QuantParams((0.25,), (0,), 0, 127))  # 1.0
    y = QuantParams((1.0,), (2,), 0, 127)
    assert evaluated(AddQuantized(y, 0, 127), a, b).tolist() == [[[6]]]  # rint(4.5) + 2
    assert evaluated(AddQuantized(y, 2, 5), a, b).tolist() == [[[5]]]


def test_quantize_input_folds_preprocessing() -> None:
    """(pixel/255 - mean_c)/std_c, as a scale and an offset for each channel."""
    mean, std = np.array([0.5, 0.25]), np.array([0.5, 0.2])
    y = QuantParams((0.02,), (60,), 0, 127)
    op = QuantizeInput(
        tuple((mean * 255).astype(np.float32).tolist()),
        tuple((0.02 * std * 255).astype(np.float32).tolist()),
        y,
        0,
        127,
    )
    pixels = np.random.default_rng(0).integers(0, 256, (1, 2, 2, 3, 3)).astype(np.float32)
    expected = np.rint((pixels / 255 - mean.reshape(2, 1, 1)) / std.reshape(2, 1, 1) / 0.02) + 60
    found = evaluated(op, tensor(pixels)).astype(int)
    assert (np.abs(found - np.clip(expected, 0, 127)) <= 1).all()
    assert (found == np.clip(expected, 0, 127)).mean() > 0.95


def test_clamp_codes() -> None:
    q = tensor(np.array([[[0, 5, 99]]], np.uint8), CODES)
    assert evaluated(ClampCodes(3, 50), q).tolist() == [[[3, 5, 50]]]
    with pytest.raises(ValueError, match="cannot clamp"):
        ClampCodes(50, 200).infer(q.type)
