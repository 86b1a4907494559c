"""Carried states: sums of rounded products of codes, worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from qbnnc.ir.ops import SumOfProducts, SumOfProductsInteger, Tensor
from qbnnc.ir.ops.sum_of_products import is_state
from qbnnc.ir.scales import state_quant
from qbnnc.ir.types import PER_ROW, Array, DType, QuantParams, TensorType

STATE = QuantParams((0.25,), (0,), -32767, 32767)
GATE = QuantParams((0.5,), (2,), 0, 255)
FAR = QuantParams((float(np.float32(1e30)),), (2,), 0, 255)
OP = SumOfProductsInteger(STATE)


def codes(*numbers: int, quant: QuantParams = GATE) -> Tensor:
    array = np.array([[numbers]], np.uint8)
    return Tensor(array, TensorType(DType.U8, array.shape[2:], PER_ROW, quant))


def state(*numbers: int, quant: QuantParams = STATE) -> Tensor:
    array = np.array([[numbers]], np.int32)
    return Tensor(array, TensorType(DType.I32, array.shape[2:], PER_ROW, quant))


def made(*inputs: Tensor, op: SumOfProductsInteger = OP) -> list[int]:
    type_ = op.infer(*(each.type for each in inputs))
    assert is_state(type_)
    value: Array = op.evaluate(*inputs)
    assert value.dtype == np.int32
    return [int(code) for code in value[0, 0]]


def test_one_product_of_codes() -> None:
    """(q_a - 2)(q_b - 2) * 0.5 * 0.5 / 0.25 = (q_a - 2)(q_b - 2)."""
    assert made(codes(0, 2, 5, 255), codes(3, 0, 7, 255)) == [-2, 0, 15, 32767]


def test_a_product_with_a_state_is_rounded_to_even() -> None:
    """(q_a - 2) q_b * 0.5 * 0.25 / 0.25: halves of q_b."""
    assert made(codes(3, 3, 3, 1), state(1, 3, 5, 3)) == [0, 2, 2, -2]


def test_each_product_is_rounded_before_they_are_added() -> None:
    """1/2 and 1/2 are 0 and 0, 3/2 and 3/2 are 2 and 2."""
    a, b = codes(3, 3), state(1, 3)
    assert made(a, b, a, b) == [0, 4]


def test_products_and_sums_are_clipped() -> None:
    a, most = codes(255, 0, 4), state(32767, 32767, 32767)
    assert made(a, most) == [32767, -32767, 32767]
    assert made(a, most, codes(0, 255, 3), most) == [0, 0, 32767]


def test_scales_of_each_product() -> None:
    fine = QuantParams((0.125,), (0,), 0, 255)
    assert made(codes(4, quant=fine), codes(6), codes(4), codes(9, quant=fine)) == [4 + 4]


@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        ((codes(1),), "takes 2 or 4 inputs, not 1"),
        ((codes(1), codes(1), codes(1)), "takes 2 or 4 inputs, not 3"),
        ((codes(1), codes(1, 2)), r"an input has shape \[2\], not \[1\]"),
        ((state(1), state(1)), "takes u8 codes"),
        ((codes(1), state(1, quant=replace(STATE, high=2**31 - 1))), "takes u8 codes"),
        ((codes(1, quant=FAR), state(1, quant=replace(STATE, scale=FAR.scale))), "too far"),
    ],
)
def test_what_is_refused(inputs: tuple[Tensor, ...], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        OP.infer(*(each.type for each in inputs))


@pytest.mark.parametrize(
    "quant",
    [
        replace(STATE, low=-32768),
        replace(STATE, high=255),
        replace(STATE, zero_point=(1,)),
        QuantParams((1.0, 1.0), (0, 0), -32767, 32767, 0),
    ],
)
def test_states_have_one_kind_of_codes(quant: QuantParams) -> None:
    with pytest.raises(ValueError, match="makes states of 32767 codes either way"):
        SumOfProductsInteger(quant).infer(codes(1).type, codes(1).type)


def test_the_float_op_adds_products_in_float32() -> None:
    a, b, c, d = (
        Tensor(np.array([[[number]]], np.float32), TensorType(DType.F32, (1,), PER_ROW))
        for number in (3.0, 0.1, -2.0, 0.7)
    )
    one = np.float32(3.0) * np.float32(0.1)
    assert SumOfProducts().evaluate(a, b)[0, 0, 0] == one
    both = one + np.float32(-2.0) * np.float32(0.7)
    assert SumOfProducts().evaluate(a, b, c, d)[0, 0, 0] == both


def test_a_state_has_twice_the_range() -> None:
    assert state_quant(-3.0, 1.0) == QuantParams(
        (float(np.float32(6 / 32767)),), (0,), -32767, 32767
    )
    assert state_quant(-1.0, 4.0).scale == (float(np.float32(8 / 32767)),)
    assert state_quant(-1.0, 1.0, pow2=True).scale == (2.0**-13,)
    assert state_quant(0.0, 0.0).scale == (1.0,)
