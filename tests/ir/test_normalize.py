"""Normalisation: the float op is torch's, and the integer op is a calculation by hand."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from qbnnc.ir.norm_groups import GroupParameters, Groups
from qbnnc.ir.ops import Normalize, NormalizeInteger, Tensor
from qbnnc.ir.types import CONSTANT, PER_ROW, Array, DType, QuantParams, TensorType
from qbnnc.runtime.layout import to_memory

X, Y = QuantParams((0.5,), (10,), 0, 127), QuantParams((0.25,), (64,), 0, 127)
SHAPES = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)


def real(array: Array) -> Tensor:
    return Tensor(
        array.astype(np.float32)[None, None], TensorType(DType.F32, array.shape, CONSTANT)
    )


def codes(array: Array, quant: QuantParams = X) -> Tensor:
    """Codes [*shape] of one row."""
    type_ = TensorType(DType.U8, array.shape, PER_ROW, quant)
    return Tensor(array.astype(np.uint8)[None, None], type_)


def of(
    q: Array,
    *,
    weight: float = 4.0,
    bias: float = 0.5,
    eps: float = 0.0,
    outer_eps: float = 0.0,
    floor: float = 2.0**-100,
    centred: bool = True,
    quant: QuantParams = X,
) -> list[int]:
    """Codes over the last axis."""
    op = NormalizeInteger(1, eps, outer_eps, floor, Y, 0, 127, centred)
    ones = np.ones([1] * q.ndim)
    made = op.evaluate(codes(q, quant), real(ones * weight), real(ones * bias))
    found: list[int] = made[0, 0].tolist()
    return found


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_the_float_op_is_torchs_layer_norm(axes: int) -> None:
    rng = np.random.default_rng(0)
    x, shape = rng.normal(1, 2, (3, 4, 5)), (3, 4, 5)[3 - axes :]
    weight, bias = rng.normal(size=(2, *shape))
    op = Normalize(axes, 0.1)
    made = op.evaluate(
        real(x), *(real(a.reshape((1,) * (3 - axes) + shape)) for a in (weight, bias))
    )
    wanted = F.layer_norm(
        torch.from_numpy(x), shape, torch.from_numpy(weight), torch.from_numpy(bias), 0.1
    )
    np.testing.assert_allclose(made[0, 0], wanted.numpy(), rtol=1e-5, atol=1e-6)


def test_every_number_of_the_float_op() -> None:
    """x = 3, 4: the mean square is 12.5, and the variance 0.25."""
    one, zero = real(np.ones(1)), real(np.zeros(1))

    def made(op: Normalize) -> list[float]:
        found: list[float] = op.evaluate(real(np.array([3.0, 4.0])), one, zero)[0, 0].tolist()
        return found

    assert made(Normalize(1, 0.0)) == pytest.approx([-1.0, 1.0])
    assert made(Normalize(1, 0.75)) == pytest.approx([-0.5, 0.5])
    assert made(Normalize(1, 0.0, outer_eps=0.5)) == pytest.approx([-0.5, 0.5])
    assert made(Normalize(1, 0.0, floor=2.0)) == pytest.approx([-0.25, 0.25])
    assert made(Normalize(1, 3.5, centred=False)) == pytest.approx([0.75, 1.0])


def test_every_number_of_the_integer_op() -> None:
    """k = 0, 2, 4, 6: n = -12, -4, 4, 12, and V = 4*56 - 12^2 = 80."""
    q = np.array([10, 12, 14, 16])
    assert of(q) == [59, 63, 66, 70]  # 64 + rint(4*n/sqrt(80) + .5)
    assert of(q, eps=20.0) == [60, 63, 66, 69]  # by 10: -4.3, -1.1, 2.1, 5.3
    assert of(q, eps=1.0, outer_eps=1.0) == [60, 63, 66, 69]  # by 9 + 1
    assert of(q, floor=16.0) == [62, 64, 66, 68]  # by 16: -2.5, -.5, 1.5, 3.5, half to even
    assert of(q, centred=False) == [64, 67, 69, 71]  # n = 0, 8, 16, 24 by sqrt(224)
    assert of(q, weight=-400.0) == [127, 127, 0, 0]


def test_equal_codes_give_the_bias() -> None:
    for q in (0, 10, 127):
        assert of(np.full(5, q)) == [64] * 5
    assert of(np.full(5, 10), centred=False) == [64] * 5


@given(st.lists(st.integers(0, 100), min_size=2, max_size=9), st.integers(0, 27))
def test_a_shift_of_all_codes_changes_nothing(q: list[int], shift: int) -> None:
    assert of(np.array(q), eps=3.0) == of(np.array(q) + shift, eps=3.0)


@given(st.lists(st.integers(0, 40), min_size=2, max_size=9), st.integers(2, 3))
def test_a_factor_of_all_codes_moves_none_by_more_than_one(q: list[int], factor: int) -> None:
    """Without eps the numbers are the same, but rounded to float32 on the way."""
    zero = QuantParams((0.5,), (0,), 0, 127)
    first, other = (of(np.array(q) * f, quant=zero) for f in (1, factor))
    assert np.abs(np.subtract(first, other)).max() <= 1


def test_groups_beyond_exact_sums_are_refused() -> None:
    """(F * 128)^2 < 2^53 up to 741,455 elements."""
    quant, one = QuantParams((1.0,), (128,), 0, 255), TensorType(DType.F32, (1,), CONSTANT)
    op = NormalizeInteger(1, 0.0, 0.0, 1.0, Y, 0, 127)
    op.infer(TensorType(DType.U8, (741_455,), PER_ROW, quant), one, one)
    with pytest.raises(ValueError, match="too large for exact sums"):
        op.infer(TensorType(DType.U8, (741_456,), PER_ROW, quant), one, one)


@pytest.mark.parametrize(
    ("eps", "outer_eps", "floor"),
    [(-1.0, 0.0, 1.0), (2.0**-201, 0.0, 1.0), (2.0**201, 0.0, 1.0), (0.0, -1.0, 1.0),
     (0.0, 2.0**101, 1.0), (0.0, 0.0, 0.0), (0.0, 0.0, 2.0**101), (float("nan"), 0.0, 1.0)],
)  # fmt: skip
def test_numbers_that_no_backend_could_take_are_refused(
    eps: float, outer_eps: float, floor: float
) -> None:
    x, one = TensorType(DType.U8, (4,), PER_ROW, X), TensorType(DType.F32, (1,), CONSTANT)
    with pytest.raises(ValueError, match="out of range"):
        NormalizeInteger(1, eps, outer_eps, floor, Y, 0, 127).infer(x, one, one)


@pytest.mark.parametrize(
    ("op", "weight", "words"),
    [
        (Normalize(3, 0.0), (1, 1), "has no 3 axes"),
        (Normalize(0, 0.0), (1, 1), "has no 0 axes"),
        (Normalize(1, 0.0), (5,), "does not broadcast"),
        (Normalize(1, 0.0), (1, 4), "does not broadcast"),
        (Normalize(1, -1.0), (1, 1), "negative eps"),
    ],
)
def test_what_does_not_fit_is_refused(op: Normalize, weight: tuple[int, ...], words: str) -> None:
    x, bias = (TensorType(DType.F32, shape, CONSTANT) for shape in ((3, 5), (1, 1)))
    with pytest.raises(ValueError, match=words):
        op.infer(x, TensorType(DType.F32, weight, CONSTANT), bias)


@given(SHAPES, st.data())
def test_groups_and_parameters_in_memory(shape: tuple[int, ...], data: st.DataObject) -> None:
    """Each element of memory is in its group, and takes its own weight and bias."""
    axes = data.draw(st.integers(1, len(shape)))
    weight, bias = (
        np.arange(prod(lengths), dtype=np.float32).reshape(lengths)
        for lengths in (tuple(data.draw(st.sampled_from((1, n))) for n in shape) for _ in range(2))
    )
    groups, taken = Groups.of(shape, axes), GroupParameters.of(weight, bias, shape, axes)
    group = np.arange(prod(shape[: len(shape) - axes])).repeat(groups.count).reshape(shape)

    def in_memory(array: Array) -> Array:
        return to_memory(np.broadcast_to(array, shape), shape).reshape(-1)

    groups_there, weights, biases = in_memory(group), in_memory(weight), in_memory(bias)
    seen = set[int]()
    for i in range(groups.outer):
        for j in range(groups.inner):
            at = i * groups.outer_step + j * groups.inner_step
            places = [at + e * groups.step for e in range(groups.count)]
            seen.update(places)
            assert len(set(groups_there[places])) == 1
            for e, place in enumerate(places):
                own = i * taken.outer_step + j * taken.inner_step + e // taken.run
                assert taken.weight[own] == weights[place]
                assert taken.bias[own] == biases[place]
    assert seen == set(range(prod(shape)))
