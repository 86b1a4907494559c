"""Softmax on integers: numbers worked out by hand, laws, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbnnc.ir.bounds import check_bounds
from qbnnc.ir.check import check
from qbnnc.ir.graph import Builder, Graph
from qbnnc.ir.ops import (
    Dequantize,
    MultiplyInteger,
    QuantizeInput,
    Reshape,
    ScaledSoftmax,
    SoftmaxInteger,
    Tensor,
)
from qbnnc.ir.types import CONSTANT, PER_ROW, Array, DType, QuantParams, Stage, TensorType
from qbnnc.support.errors import CompileError, Loc

SUMS = QuantParams((1.25 / 128,), (0,), -(2**31), 2**31 - 1)
CODES = QuantParams((0.125,), (7,), 0, 255)
TO = QuantParams((2**-8,), (0,), 0, 255)
HALVES = np.array([65536, 32768, 16384, 8192, 0], np.int32)  # of steps of ln 2
LOC = Loc("layer", "net.py:1")


def constant(array: Array) -> Tensor:
    type_ = TensorType(DType.of(array.dtype), array.shape, CONSTANT)
    return Tensor(array[None, None], type_)


def softmax(x: Array, *constants: Array, op: SoftmaxInteger | None = None) -> Array:
    """Codes of rows [N, T] of accumulators, or of u8 codes."""
    op = SoftmaxInteger(TO, 0, 255) if op is None else op
    quant = CODES if x.dtype == np.uint8 else SUMS
    value = Tensor(x[None], TensorType(DType.of(x.dtype), x.shape[1:], PER_ROW, quant))
    others = [constant(array) for array in constants]
    op.infer(value.type, *(other.type for other in others))
    made: Array = op.evaluate(value, *others)[0]
    return made


def test_halves_of_a_sum() -> None:
    """exp is 1, 1/2, 1/4: of 7/4. 256 * 4/7 = 146.3, 73.1 and 36.6."""
    assert softmax(np.array([[5, 4, 3]], np.int32), HALVES).tolist() == [[146, 73, 37]]


def test_what_lies_beyond_the_table_has_its_last_entry() -> None:
    x = np.array([[0, -3, -4, -(2**30)]], np.int32)
    assert softmax(x, HALVES).tolist() == [[228, 28, 0, 0]]  # 256 * 8/9 = 227.6


def test_distances_are_multiplied_and_rounded_half_to_even() -> None:
    """1, 3 and 5 halves are 0, 2 and 2 steps: 1, 1, 1/4 and 1/4 of 5/2."""
    op = SoftmaxInteger(TO, 0, 255, 0.5)
    x = np.array([[10, 9, 7, 5]], np.int32)
    assert softmax(x, HALVES, op=op).tolist() == [[102, 102, 26, 26]]


def test_a_masked_element_has_no_part_though_it_is_the_greatest() -> None:
    mask = np.array([0, 1, 1, 1], np.uint8)
    x = np.array([[99, 5, 4, 3]], np.int32)
    assert softmax(x, HALVES, mask).tolist() == [[0, 146, 73, 37]]


def test_a_bias_is_added_in_steps() -> None:
    x, bias = np.array([[5, 5, 5]], np.int32), np.array([2, 1, 0], np.int32)
    assert softmax(x, HALVES, bias).tolist() == [[146, 73, 37]]
    mask = np.array([1, 1, 0], np.uint8)
    assert softmax(x, HALVES, mask, bias).tolist() == [[171, 85, 0]]  # 2/3 and 1/3 of 256


def test_codes_are_clamped_and_have_a_zero_point() -> None:
    op = SoftmaxInteger(QuantParams((2**-8,), (10,), 0, 255), 50, 150)
    x = np.array([[5, 4, 3]], np.uint8)
    assert softmax(x, HALVES, op=op).tolist() == [[150, 83, 50]]


def test_a_table_of_zeros_divides_by_1() -> None:
    assert softmax(np.array([[1, 2]], np.int32), np.zeros(1, np.int32)).tolist() == [[0, 0]]


ROWS = st.lists(st.integers(-2000, 2000), min_size=2, max_size=40)
EXPONENTIALS = np.rint(65536 * np.exp(-np.arange(1600) / 128)).astype(np.int32)


@given(ROWS, st.integers(-(2**28), 2**28))
def test_laws(row: list[int], shift: int) -> None:
    """A shift changes nothing, greater ones have no smaller code, and codes are near the real."""
    op, x = SoftmaxInteger(TO, 0, 255, 1.25), np.array([row], np.int32)
    made = softmax(x, EXPONENTIALS, op=op)
    assert np.array_equal(made, softmax(x + np.int32(shift), EXPONENTIALS, op=op))
    order = np.argsort(x[0], kind="stable")
    assert (np.diff(made[0, order].astype(int)) >= 0).all()
    real = np.exp((x - x.max()) * (1.25 / 128))
    real /= real.sum()
    assert np.abs(made - np.minimum(real * 256, 255)).max() < 1
    assert abs(int(made.sum()) - 256) <= len(row) + 1


@given(ROWS, st.randoms())
def test_masked_elements_might_be_absent(row: list[int], random: object) -> None:
    mask = np.array([1] + [(value >> 1) & 1 for value in row[1:]], np.uint8)
    x = np.array([row], np.int32)
    made = softmax(x, EXPONENTIALS, mask)
    assert not made[0, mask == 0].any()
    assert np.array_equal(made[:, mask == 1], softmax(x[:, mask == 1], EXPONENTIALS))


def test_the_float_op_scales_shifts_and_masks() -> None:
    x = np.array([[[1.0, 2.0, 3.0]]], np.float32)
    value = Tensor(x, TensorType(DType.F32, (3,), PER_ROW))
    mask, bias = np.array([1, 1, 0], np.uint8), np.array([0.5, 0, 9], np.float32)
    made = ScaledSoftmax(0.5).evaluate(value, constant(mask), constant(bias))
    # exp(1) against exp(1): both are half
    np.testing.assert_allclose(made, [[[0.5, 0.5, 0]]], atol=1e-7)


X = TensorType(DType.I32, (2, 3), PER_ROW, SUMS)
TABLE = TensorType(DType.I32, (4,))


@pytest.mark.parametrize(
    ("types", "message"),
    [
        ((X,), "takes integers and a table"),
        ((replace(X, dtype=DType.F32), TABLE), "takes codes or accumulators"),
        ((X, TensorType(DType.I32, (4, 1))), "takes a constant table"),
        ((X, TABLE, TensorType(DType.U8, (3,))), "does not broadcast"),
        ((X, TABLE, TensorType(DType.U8, (1, 2))), "does not broadcast"),
        ((X, TABLE, TensorType(DType.I32, (1, 3)), TensorType(DType.U8, (1, 3))), "in this order"),
        ((X, TABLE, TensorType(DType.U8, (1, 3), PER_ROW)), "takes plain constants"),
        ((replace(X, shape=()), TABLE), "has no axis"),
        ((X, TensorType(DType.I32, (2**16 + 1,))), "a table of 1 to 65536 entries"),
    ],
)
def test_types_that_do_not_fit(types: tuple[TensorType, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SoftmaxInteger(TO, 0, 255).infer(*types)


def test_one_scale() -> None:
    channels = QuantParams((0.1, 0.2), (0, 0), -(2**31), 2**31 - 1, 0)
    with pytest.raises(ValueError, match="codes of one scale"):
        SoftmaxInteger(TO, 0, 255).infer(replace(X, quant=channels), TABLE)


def graph(table: Array, *constants: Array, length: int = 3, moved: bool = False) -> Graph:
    """A softmax of the product of codes 0..255, Z = 7, with themselves."""
    build = Builder()
    x = build.input("x", TensorType(DType.F32, (1, length), PER_ROW))
    q = build.emit(QuantizeInput((0.0,), CODES.scale, CODES, 0, 255), x, loc=LOC, name="q")
    acc = build.emit(MultiplyInteger(), q, q, loc=LOC, name="acc")
    acc = build.emit(Reshape((1, 1, length)), acc, loc=LOC, name="r") if moved else acc
    inputs = [build.constant(f"c{i}", a) for i, a in enumerate((table, *constants))]
    y = build.emit(SoftmaxInteger(TO, 0, 255), acc, *inputs, loc=LOC, name="y")
    return build.graph((build.emit(Dequantize(), y, loc=LOC, name="out"),), Stage.INTEGER)


def test_a_row_that_is_masked_wholly_is_refused() -> None:
    check(graph(HALVES, np.array([[0, 0, 1]], np.uint8)))
    with pytest.raises(CompileError, match=r"^layer .*the mask leaves no element of a row"):
        check(graph(HALVES, np.zeros((1, 3), np.uint8)))
    with pytest.raises(CompileError, match=r"the mask holds 0\.\.2"):
        check(graph(HALVES, np.array([[0, 2, 1]], np.uint8)))


def test_a_sum_that_int32_does_not_hold_is_refused() -> None:
    most = (2**31 - 1) // 3
    check(graph(np.array([most], np.int32)))
    for entry in (most + 1, -1):
        with pytest.raises(CompileError, match="int32 does not hold sums of 3 of"):
            check(graph(np.array([entry], np.int32)))


@pytest.mark.parametrize("moved", [False, True])
def test_the_last_bias_whose_distances_fit(moved: bool) -> None:
    """Products are -7*248..248*248, and differ by 63240. They move with a shape."""
    shape, last = (1, 1, 3) if moved else (1, 3), 2**31 - 1 - 63240
    for sign in (1, -1):
        bias = np.zeros(shape, np.int32)
        bias[..., 0] = sign * last
        check_bounds(graph(HALVES, bias, moved=moved))
        bias[..., 0] = sign * (last + 1)
        with pytest.raises(CompileError, match=r"^layer .*the softmax compares integers"):
            check_bounds(graph(HALVES, bias, moved=moved))
