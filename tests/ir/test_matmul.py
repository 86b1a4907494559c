"""MatMul and MatMulInteger: values by hand, shapes that fit, bounds, and versions of files."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbnnc.ir.bounds import accumulator_bounds, check_bounds
from qbnnc.ir.codec import decode_op, encode_op, version_of
from qbnnc.ir.graph import Builder, Graph
from qbnnc.ir.ops import MatMul, MatMulInteger, QuantizeInput, Tensor
from qbnnc.ir.types import PER_ROW, PER_SAMPLE, Array, DType, QuantParams, Stage, TensorType
from qbnnc.support.errors import CompileError, Loc

A = QuantParams((0.5,), (3,), 0, 127)
B = QuantParams((0.25,), (10,), 0, 255)


def codes(array: Array, quant: QuantParams) -> Tensor:
    type_ = TensorType(DType.U8, array.shape, PER_ROW, quant)
    return Tensor(array.astype(np.uint8)[None, None], type_)


def reals(*shape: int) -> TensorType:
    return TensorType(DType.F32, shape, PER_ROW)


def test_sums_by_hand() -> None:
    """(4-3)(12-10) + (1-3)(9-10) = 4 and (4-3)(10-10) + (1-3)(11-10) = -2."""
    a, b = codes(np.array([[4, 1]]), A), codes(np.array([[12, 10], [9, 11]]), B)
    assert MatMulInteger().evaluate(a, b).tolist() == [[[[4, -2]]]]
    turned = codes(np.array([[12, 9], [10, 11]]), B)
    assert MatMulInteger(transposed=True).evaluate(a, turned).tolist() == [[[[4, -2]]]]


def test_the_factor_is_part_of_the_scale() -> None:
    """f32(f32(.5 * .25) * f32(.1)); the sums do not change."""
    a, b = codes(np.ones((2, 3)), A), codes(np.ones((3, 2)), B)
    type_ = MatMulInteger(factor=0.1).infer(a.type, b.type)
    scale = np.float32(0.125) * np.float32(0.1)
    assert type_.quant == QuantParams((float(scale),), (0,), -(2**31), 2**31 - 1)
    plain, scaled = (MatMulInteger(factor=f).evaluate(a, b) for f in (1.0, 0.1))
    assert (plain == scaled).all()


def test_reals_by_hand() -> None:
    x = Tensor(np.array([[[[1.0, 2.0]]]], np.float32), reals(1, 2))
    y = Tensor(np.array([[[[3.0], [-1.0]]]], np.float32), reals(2, 1))
    assert MatMul(factor=0.5).evaluate(x, y).tolist() == [[[[0.5]]]]


def test_samples_meet_rows() -> None:
    """Samples of one factor and rows of the other broadcast."""
    rng = np.random.default_rng(0)
    a = rng.integers(0, 128, (1, 4, 2, 3, 5)).astype(np.uint8)
    b = rng.integers(0, 256, (3, 1, 2, 5, 4)).astype(np.uint8)
    types = (
        TensorType(DType.U8, (2, 3, 5), PER_ROW, A),
        TensorType(DType.U8, (2, 5, 4), PER_SAMPLE, B),
    )
    made = MatMulInteger().evaluate(Tensor(a, types[0]), Tensor(b, types[1]))
    first = np.broadcast_to(a.astype(int) - 3, (3, 4, 2, 3, 5))
    second = np.broadcast_to(b.astype(int) - 10, (3, 4, 2, 5, 4))
    expected = np.einsum("lbsmk,lbskn->lbsmn", first, second)
    assert (made == expected).all()
    assert MatMulInteger().infer(*types).axes == PER_ROW | PER_SAMPLE


@given(st.integers(1, 4), st.integers(200, 700), st.integers(1, 4), st.integers(0, 99))
def test_codes_of_8_bits_do_not_saturate(m: int, k: int, n: int, seed: int) -> None:
    """Sums beyond 2^24, which float32 does not hold, are exact."""
    rng = np.random.default_rng(seed)
    quant = QuantParams((1.0,), (0,), 0, 255)
    a, b = (rng.integers(200, 256, shape) for shape in ((m, k), (k, n)))
    made = MatMulInteger().evaluate(codes(a, quant), codes(b, quant))
    assert (made[0, 0] == a @ b).all()


@pytest.mark.parametrize(
    ("a", "b", "transposed", "message"),
    [
        ((2, 3), (2, 4), False, "does not multiply a"),
        ((2, 3), (3, 4), True, "does not multiply the transposed"),
        ((5, 2, 3), (4, 3, 2), False, "does not multiply"),
        ((3,), (3,), False, "two matrices"),
        ((2, 3), (1, 3, 4), False, "two matrices"),
        ((1, 1, 1, 2, 3), (1, 1, 1, 3, 2), False, "two matrices"),
    ],
)
def test_shapes_that_do_not_fit(
    a: tuple[int, ...], b: tuple[int, ...], transposed: bool, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        MatMul(transposed).infer(reals(*a), reals(*b))


@pytest.mark.parametrize("factor", [0.0, -1.0, float("inf"), float("nan")])
def test_factors_are_positive_numbers(factor: float) -> None:
    with pytest.raises(ValueError, match="not positive and finite"):
        MatMul(factor=factor).infer(reals(2, 3), reals(3, 2))


def test_codes_and_numbers_do_not_mix() -> None:
    with pytest.raises(ValueError, match="takes u8 codes"):
        MatMulInteger().infer(reals(2, 3), reals(3, 2))
    with pytest.raises(ValueError, match="takes real numbers"):
        MatMul().infer(codes(np.ones((2, 3)), A).type, reals(3, 2))


def product(depth: int, quant: QuantParams) -> Graph:
    """The input's codes [1, depth], times themselves."""
    build = Builder()
    x = build.input("x", reals(1, depth))
    op = QuantizeInput((0.0,), quant.scale, quant, quant.low, quant.high)
    q = build.emit(op, x, loc=Loc("q"), name="q")
    acc = build.emit(MatMulInteger(transposed=True), q, q, loc=Loc("scores"), name="acc")
    return build.graph((acc,), Stage.INTEGER)


def test_bounds_are_those_of_the_codes_times_the_depth() -> None:
    """Codes -3..124 about the zero point: 7 products of -372 to 15376."""
    graph = product(7, A)
    bounds = accumulator_bounds(graph, graph.nodes[-1])
    assert bounds is not None
    assert (bounds.low, bounds.high) == (-3 * 124 * 7, 124 * 124 * 7)
    assert bounds.largest_sum == 124 * 124 * 7


def test_sums_that_int32_does_not_hold_are_refused() -> None:
    """255^2 * 33025 is the last product below 2^31."""
    quant = QuantParams((1.0,), (0,), 0, 255)
    check_bounds(product(33025, quant))
    with pytest.raises(CompileError, match=r"scores: the accumulators could reach 0\.\.2147515650"):
        check_bounds(product(33026, quant))


def test_files_with_products_have_version_4() -> None:
    for op in (MatMul(), MatMulInteger(True, 0.25)):
        assert version_of(op) == 4
        assert decode_op(encode_op(op)) == op
