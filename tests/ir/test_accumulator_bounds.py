"""The facts that follow from an accumulator's bounds: bits, int32, int16 and float32."""

from __future__ import annotations

import numpy as np
import pytest

from qbnnc.ir.bounds import AccumulatorBounds, accumulator_bounds, check_bounds
from qbnnc.ir.graph import Builder
from qbnnc.ir.ops import (
    LinearInteger,
    QuantizeInput,
)
from qbnnc.ir.types import PER_ROW, DType, QuantParams, Stage, TensorType
from qbnnc.ir.weights import ChannelSums
from qbnnc.support.errors import CompileError
from tests.ir.test_bounds import LOC, WEIGHTS, bounds_of, layer


@pytest.mark.parametrize(
    ("low", "high", "bits", "fits"),
    [
        (-1, 0, 1, True),
        (0, 1, 2, True),
        (-2, 1, 2, True),
        (-3, 1, 3, True),
        (-128, 127, 8, True),
        (-128, 128, 9, True),
        (-(2**31), 2**31 - 1, 32, True),
        (-(2**31) - 1, 0, 33, False),
        (0, 2**31, 33, False),
    ],
)
def test_bits_are_those_of_twos_complement(low: int, high: int, bits: int, fits: bool) -> None:
    bounds = AccumulatorBounds(low, high, max(-low, high), saturates=False)
    assert bounds.bits == bits
    assert bounds.fits_int32 == fits


@pytest.mark.parametrize(("largest", "exact"), [(2**24 - 1, True), (2**24, False)])
def test_float32_holds_sums_below_2_to_the_24(largest: int, exact: bool) -> None:
    assert AccumulatorBounds(0, 0, largest, saturates=False).exact_in_float32 is exact


@pytest.mark.parametrize(("excess", "refused"), [(0, False), (1, True)])
def test_the_last_accumulator_that_fits(excess: int, refused: bool) -> None:
    """x' = 10 at most, w = 3: the bias may be 2^31 - 1 - 30."""
    for sign in (1, -1):
        end = 2**31 - 1 if sign > 0 else 2**31
        bias = sign * (end - 30 + excess)
        graph = layer(LinearInteger(), (1,), np.array([[3 * sign]]), [bias])
        if refused:
            with pytest.raises(CompileError, match=r"^layer \(net\.py:1\): the accumulators could"):
                check_bounds(graph)
        else:
            check_bounds(graph)


@pytest.mark.parametrize(
    ("top", "weight", "saturates"),
    [(128, (-127, 127), False), (129, (-127, 127), True), (255, (-63, 63), False)],
)
def test_two_products_may_leave_int16(top: int, weight: tuple[int, int], saturates: bool) -> None:
    """2 * 128 * 127 is below 2^15, and 2 * 129 * 127 is not."""
    build = Builder()
    x = build.input("input", TensorType(DType.F32, (1,), PER_ROW))
    codes = QuantParams((0.5,), (0,), 0, top)
    q = build.emit(QuantizeInput((0.0,), (0.5,), codes, 0, top), x, loc=LOC, name="codes")
    w = build.constant("weight", np.ones((1, 1), np.int8), QuantParams((1.0,), (0,), *weight))
    b = build.constant("bias", np.zeros(1, np.int32))
    made = build.emit(LinearInteger(), q, w, b, loc=LOC, name="layer")
    assert bounds_of(build.graph((made,), Stage.INTEGER)).saturates is saturates


def test_sums_of_weights_are_worked_out_once() -> None:
    graph = layer(LinearInteger(), (3,), np.array(WEIGHTS["mixed"]), [1, 2])
    known: dict[tuple[int, QuantParams], ChannelSums] = {}
    check_bounds(graph, known)
    (kept,) = known.values()
    check_bounds(graph, known)
    assert [*known.values()] == [kept]


def test_nodes_that_make_no_accumulators_have_no_bounds() -> None:
    graph = layer(LinearInteger(), (3,), np.array(WEIGHTS["mixed"]), [1, 2])
    assert accumulator_bounds(graph, graph.nodes[0]) is None
