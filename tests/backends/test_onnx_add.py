"""Residual adds as one kernel on bytes: the codes of docs/semantics.md, for every pair of codes."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from qbnnc.backends.onnx import emit, fused_add
from qbnnc.backends.onnx.fused_add import Pairs, fused_ratios
from qbnnc.ir.arithmetic import f32
from qbnnc.ir.graph import Builder
from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from qbnnc.ir.ops import AddQuantized, Dequantize, QuantizeInput, Slice
from qbnnc.ir.scales import activation_quant
from qbnnc.ir.types import PER_ROW, Array, DType, QuantParams, Stage, TensorType
from qbnnc.support.errors import Loc
from tests.examples import examples

LEVELS = (
    onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
)
Addition = tuple[AddQuantized, QuantParams, QuantParams]

ENDS = st.floats(0.015625, 8, width=32)


@st.composite
def quants(draw: st.DrawFn) -> QuantParams:
    """Codes of 2..8 bits of a range with 0 in it, or at its end."""
    low = draw(st.sampled_from((0.0, -1.0))) * draw(ENDS)
    high = draw(st.sampled_from((0.0, 1.0, 1.0, 1.0))) * draw(ENDS)
    return activation_quant(low, high or 1.0, draw(st.integers(2, 8)))


@st.composite
def additions(draw: st.DrawFn) -> Addition:
    """An addition whose result has its own range, and the clamp of a ReLU or none."""
    quant = draw(quants())
    low = draw(st.sampled_from((quant.low, quant.zero_point[0])))
    high = draw(st.sampled_from((quant.high, max(low, quant.high - 3))))
    return AddQuantized(quant, low, high), draw(quants()), draw(quants())


def rounded(number: Fraction) -> Fraction:
    """`number` as the nearest float32, halves to even; far from overflow and from subnormals."""
    if number == 0:
        return number
    exponent = abs(number.numerator).bit_length() - number.denominator.bit_length() - 24
    while abs(number) >= Fraction(2) ** (exponent + 24):
        exponent += 1
    unit = Fraction(2) ** exponent
    return round(number / unit) * unit


def sum_of(addition: Addition, a: int, b: int) -> int:
    """quantize(f32(dequantize(a) + dequantize(b))) in fractions; `round` takes halves to even."""
    op, x, y = addition
    (scale_a, zero_a), (scale_b, zero_b), (scale, zero) = (
        (Fraction(q.per_tensor[0]), q.per_tensor[1]) for q in (x, y, op.quant)
    )
    total = rounded(rounded((a - zero_a) * scale_a) + rounded((b - zero_b) * scale_b))
    return min(max(zero + round(rounded(total / scale)), op.low), op.high)


def hardest(addition: Addition, count: int) -> Iterator[tuple[int, int]]:
    """The pairs nearest to a tie, and some that are not."""
    op, x, y = addition
    a, b = np.meshgrid(*(np.arange(q.low, q.high + 1) for q in (x, y)), indexing="ij")
    real = (a - x.zero_point[0]) * x.scale[0] + (b - y.zero_point[0]) * y.scale[0]
    distance = np.abs(real / op.quant.scale[0] % 1 - 0.5)
    order = np.argsort(distance, axis=None)
    for place in (*order[:count], *order[count :: max(1, order.size // count)]):
        yield int(a.flat[place]), int(b.flat[place])


@examples(60)
@given(additions())
def test_the_wanted_sums_are_those_of_fractions(addition: Addition) -> None:
    pairs = Pairs.of(*addition)
    for a, b in hardest(addition, 100):
        found = pairs.wanted[a - addition[1].low, b - addition[2].low]
        assert found == sum_of(addition, a, b)


@examples(60)
@given(additions())
def test_moved_ratios_leave_no_pair_near_a_tie(addition: Addition) -> None:
    """In exact arithmetic, and so in fixed point: 22 bits hold the ratios."""
    op, x, y = addition
    if (ratios := fused_ratios(*addition)) is None:
        return
    moved = [Fraction(ratio) for ratio in ratios]
    exact = [Fraction(q.per_tensor[0]) / Fraction(op.quant.per_tensor[0]) for q in (x, y)]
    for one, other in zip(moved, exact, strict=True):
        assert rounded(one) == one
        assert abs(one - other) < max(Fraction(1), *exact) / 2**15
    for a, b in hardest(addition, 100):
        real = (a - x.zero_point[0]) * moved[0] + (b - y.zero_point[0]) * moved[1]
        code = min(max(op.quant.zero_point[0] + round(real), op.low), op.high)
        assert code == sum_of(addition, a, b)
        assert real % 1 != Fraction(1, 2) or code in (op.low, op.high)


@pytest.mark.parametrize("bits", range(2, 9))
def test_most_additions_are_fused(bits: int) -> None:
    rng, fused = np.random.default_rng(bits), 0
    for _ in range(10):
        x, y = (activation_quant(-rng.random() - 0.1, rng.random() + 0.1, bits) for _ in "xy")
        quant = activation_quant(0.0, rng.random() + 0.7, bits)
        fused += fused_ratios(AddQuantized(quant, quant.low, quant.high), x, y) is not None
    assert fused >= 7


def network(addition: Addition, pairs: int) -> Model:
    """The sum of two rows of codes; the inputs are numbers, [2, pairs]."""
    build, loc = Builder(), Loc("add", "net.py:1")
    op, *quants = addition
    x = build.input("input", TensorType(DType.F32, (2, pairs), PER_ROW))
    rows = []
    for number, quant in enumerate(quants):
        quantize = QuantizeInput((0.0,), quant.scale, quant, quant.low, quant.high)
        codes = build.emit(quantize, x, loc=loc, name=f"codes{number}")
        rows.append(build.emit(Slice(0, number, number + 1, 1), codes, loc=loc, name=f"x{number}"))
    total = build.emit(op, *rows, loc=loc, name="total")
    out = build.emit(Dequantize(), total, loc=loc, name="out")
    return Model((build.graph((out,), Stage.INTEGER),), Head(Task.RAW))


def summed(data: bytes, x: Array, level: onnxruntime.GraphOptimizationLevel) -> NDArray[np.uint8]:
    """The codes of the sum in onnxruntime at a level of its optimiser."""
    proto = onnx.load_model_from_string(data)
    proto.graph.output.extend(info for info in proto.graph.value_info if info.name == "total")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    zero = np.array(0, np.int64)
    made: list[NDArray[np.uint8]] = session.run(
        ["total"], {"input": x, "seed": zero, "first_row": zero}
    )
    return made[0].reshape(-1)


@examples(25)
@given(additions())
def test_onnxruntime_sums_all_pairs_at_every_level(addition: Addition) -> None:
    _, x, y = addition
    codes = np.meshgrid(*(np.arange(q.low, q.high + 1) for q in (x, y)), indexing="ij")
    a, b = (c.reshape(-1) for c in codes)
    reals = [
        (c - q.zero_point[0]).astype(np.float32) * np.float32(q.scale[0])
        for c, q in ((a, x), (b, y))
    ]
    data = emit(network(addition, len(a)))
    found = [summed(data, np.stack(reals)[None], level) for level in LEVELS]
    for other in found[1:]:
        assert np.array_equal(found[0], other)
    at = {pair: place for place, pair in enumerate(zip(a.tolist(), b.tolist(), strict=True))}
    for pair in hardest(addition, 60):
        assert found[0][at[pair]] == sum_of(addition, *pair)


def optimised(data: bytes, folder: Path) -> list[str]:
    """The ops that onnxruntime makes of a file."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    proto = onnx.load_model(folder / "optimised.onnx")
    return [node.op_type for node in proto.graph.node]


def addition_of(scales: tuple[float, float, float], bits: int = 7) -> Addition:
    x, y, z = (QuantParams((f32(s),), (3,), 0, 2**bits - 1) for s in scales)
    return AddQuantized(z, z.low, z.high), x, y


def test_the_sum_is_one_kernel_on_bytes(tmp_path: Path) -> None:
    kinds = optimised(emit(network(addition_of((0.031, 0.047, 0.053)), 8)), tmp_path)
    assert "QLinearAdd" in kinds
    assert "Add" not in kinds


@pytest.mark.parametrize("scales", [(0.5, 1.0, 1.0), (0.25, 0.5, 1.0)])
def test_exact_ties_are_summed_in_float(scales: tuple[float, float, float], tmp_path: Path) -> None:
    """Half steps go to even codes: no ratio near a half does that for 1 and for 3."""
    addition = addition_of(scales)
    assert fused_ratios(*addition) is None
    kinds = optimised(emit(network(addition, 8)), tmp_path)
    assert "Sum" in kinds
    assert "QLinearAdd" not in kinds


@pytest.mark.parametrize("scales", [(1e-5, 0.031, 0.053), (0.031, 0.047, 1e-4)])
def test_ratios_beyond_the_fixed_point_are_summed_in_float(
    scales: tuple[float, float, float],
) -> None:
    assert fused_ratios(*addition_of(scales)) is None


def test_one_wrong_code_of_any_kernel_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """The search alone proves nothing: each way of rounding is tried on each pair."""
    addition, kernels = addition_of((0.031, 0.047, 0.053)), fused_add.kernels
    assert fused_ratios(*addition) is not None

    def wrong(pairs: Pairs, a: float, b: float) -> Iterator[Array]:
        *others, last = kernels(pairs, a, b)
        last[1, 2] += 1
        yield from (*others, last)

    monkeypatch.setattr(fused_add, "kernels", wrong)
    assert fused_ratios(*addition) is None
