"""The proof that no accumulator overflows: bounds that hold and are reached."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbnnc.ir.bounds import accumulator_bounds
from qbnnc.ir.evaluate import evaluate_node
from qbnnc.ir.graph import Value
from qbnnc.ir.ops import (
    LinearInteger,
)
from qbnnc.ir.rng import Draw
from qbnnc.ir.types import Array
from qbnnc.passes.integer.accumulators import ProveOverflow
from qbnnc.passes.options import Bits, WeightScheme
from qbnnc.support.errors import CompileError
from tests.graphs import mlp
from tests.net import Net
from tests.passes.integer.test_quantize import Stages


@given(st.integers(0, 99), st.sampled_from(WeightScheme), st.integers(2, 8))
def test_bounds_hold_and_are_reached(seed: int, weights: WeightScheme, bits: int) -> None:
    """No input leaves the bounds; the worst input of one channel meets its end exactly."""
    stages = Stages(Net((5,), seed).linear(3, "fc").graph(), Bits(bits, bits), weights)
    node = next(n for n in stages.integer.nodes if isinstance(n.op, LinearInteger))
    bounds = accumulator_bounds(stages.integer, node)
    assert bounds is not None
    x, weight, _ = node.inputs
    assert weight.type.quant is not None
    assert x.type.quant is not None
    centred = stages.integer.constants[weight] - weight.type.quant.zero_point_array(2)
    low, high = x.type.quant.low, x.type.quant.high
    worst = np.where(centred > 0, high, low).astype(np.uint8)
    data: dict[Value, Array] = {v: a[None, None] for v, a in stages.integer.constants.items()}
    data[x] = worst[None]
    acc = evaluate_node(node, data, Draw.of(0, [0], [0]))
    assert acc.max() == bounds.high
    assert bounds.largest_sum >= max(abs(bounds.low), abs(bounds.high))


def test_an_accumulator_that_could_overflow_is_refused() -> None:
    stages = Stages(mlp())
    huge = {
        v: np.full_like(a, 2**31 - 1) if v.name == "fc1.bias.codes" else a
        for v, a in stages.unfolded.constants.items()
    }
    with pytest.raises(CompileError, match=r"fc1 \(net\.py:1\): the accumulators could reach"):
        ProveOverflow()(replace(stages.unfolded, constants=huge))


def test_saturation_is_told_for_8_bit_activations_and_weights_only() -> None:
    for bits, saturates in (("w8a8", True), ("w7a8", False), ("w8a7", False)):
        stages = Stages(mlp(), Bits.parse(bits))
        bounds = [accumulator_bounds(stages.integer, n) for n in stages.integer.nodes]
        of_input, *others = (b.saturates for b in bounds if b is not None)
        assert set(others) == {saturates}
        assert of_input is (bits != "w7a8")  # the input has 8 bits
