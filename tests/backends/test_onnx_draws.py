"""Noise on activations, choices between constants, weights under a mask: the oracle's bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbnnc.backends.onnx import emit, streams
from qbnnc.backends.onnx.session import OnnxArtefact
from qbnnc.ir.graph import Builder, Value
from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from qbnnc.ir.ops import (
    AddQuantized,
    Dequantize,
    KeepMask,
    MultiplyInteger,
    NoiseCodes,
    QuantizeInput,
    Requantize,
    Select,
)
from qbnnc.ir.oracle import oracle_samples
from qbnnc.ir.rng import Draw
from qbnnc.ir.scales import activation_quant
from qbnnc.ir.types import PER_ROW, Array, DType, QuantParams, Stage, TensorType
from qbnnc.support.errors import Loc
from tests.backends.equality import assert_equal, assert_values_equal, same_bits
from tests.examples import examples, nightly_but
from tests.strategies import input_batch, integer_models, random_integer_model

LOC, SHAPE = Loc("noise", "net.py:1"), (3, 2, 3)
SEEDS = st.sampled_from((0, 7, -1, -(2**63), 2**63 - 1))
FIRST_ROWS = st.sampled_from((0, 1, 1000, 2**40))
IDS = st.lists(st.integers(0, 4) | st.integers(0, 2**63 - 1), min_size=1, max_size=5)
MODELS = integer_models(ops="draws") | integer_models(ops="draws", members=2)


@examples(150)
@given(MODELS, st.sampled_from((1, 3, 7)), SEEDS, FIRST_ROWS, st.integers(1, 5))
def test_samples_are_the_oracles(
    model: Model, rows: int, seed: int, first_row: int, draws: int
) -> None:
    samples = draws * len(model.members) if model.stochastic else None
    assert_equal(model, rows, seed, first_row, samples)


@examples(40)
@given(MODELS, IDS)
def test_rows_have_ids(model: Model, numbers: list[int]) -> None:
    """Each row is the oracle's for that row alone."""
    x, file = input_batch(model, len(numbers)), emit(model, row_ids=True, default_seed=8)
    found = OnnxArtefact.from_bytes(file, threads=1).predict(x, seed=5, row_ids=numbers)
    rows = [
        oracle_samples(model, x[i : i + 1], samples=model.samples, seed=5, first_row=number)
        for i, number in enumerate(numbers)
    ]
    for place, name in enumerate(model.head.sample_names(len(rows[0]))):
        assert same_bits(found[name], np.concatenate([row[place] for row in rows], axis=1))


@pytest.mark.parametrize("part", nightly_but([2], range(6)))
def test_samples_are_the_oracles_for_hundreds_of_models(part: int) -> None:
    for seed in range(5000 + part * 100, 5100 + part * 100):
        model = random_integer_model(seed, ops="draws", members=1 + seed % 2)
        assert_equal(model, 1 + seed % 5, seed * 12345 - 10**7, seed % 3)


class Noises:
    """A network that adds up what a test puts in: noise and chosen values."""

    def __init__(self, shape: tuple[int, ...] = SHAPE, bits: int = 7) -> None:
        self.build, self.quant = Builder(), activation_quant(-1.0, 1.0, bits)
        x = self.build.input("input", TensorType(DType.F32, shape, PER_ROW))
        op = QuantizeInput((0.0,), self.quant.scale, self.quant, 0, self.quant.high)
        self.value = self.build.emit(op, x, loc=LOC, name="input.q")

    def add(self, other: Value) -> None:
        op = AddQuantized(self.quant, 0, 127)
        name = f"{other.name}.added"
        self.value = self.build.emit(op, self.value, other, loc=LOC, name=name)

    def multiply(self, other: Value) -> None:
        """Times one number a channel."""
        name, one = f"{other.name}.scaled", np.full((1, 1, 1), 0.5, np.float32)
        acc = self.build.emit(MultiplyInteger(), self.value, other, loc=LOC, name=f"{name}.acc")
        factor = self.build.constant(f"{name}.m", one)
        op = Requantize(self.quant, 0, 127)
        self.value = self.build.emit(op, acc, factor, loc=LOC, name=name)

    def model(self, samples: int = 4) -> Model:
        out = self.build.emit(Dequantize(), self.value, loc=LOC, name="out")
        model = Model((self.build.graph((out,), Stage.INTEGER),), Head(Task.RAW), samples)
        model.check()
        return model


def exposed(
    model: Model, names: Sequence[str], rows: int, seed: int, first_row: int, *, inline: bool
) -> dict[str, Array]:
    x = np.zeros((rows, *model.graph.input.type.shape), np.float32)
    data = emit(model, batch=rows, inline=True) if inline else emit(model)
    found = OnnxArtefact.from_bytes(data).values(x, names, seed=seed, first_row=first_row)
    return dict(found)


def codes(high: int) -> QuantParams:
    return QuantParams((0.5,), (1,), 0, high)


NOISES = (
    NoiseCodes(SHAPE, 4, (9, 30000, 65536), codes(3)),
    NoiseCodes(SHAPE, 0, (9, 30000, 65536), codes(3), inverted=True),
    NoiseCodes(SHAPE, 7, (9, 30000, 65536), codes(3), shared=True),
    NoiseCodes((3, 1, 1), 2, (9, 30000, 65536), codes(3)),  # of one table with the first
    NoiseCodes(SHAPE, 3, tuple(range(128, 2**15, 128)), codes(255)),
    NoiseCodes(SHAPE, 9, (0,), codes(1)),  # always 1
    NoiseCodes(SHAPE, 8, (65536,), codes(1)),  # always 0
    NoiseCodes(SHAPE, 5, (65536, 65536), codes(2), inverted=True),
    NoiseCodes(SHAPE, 6, (0, 1, 1, 1, 65535, 65535, 65536), codes(7)),
    NoiseCodes(SHAPE, 1, (0, 1, 1, 1, 65535, 65535, 65536), codes(7), shared=True, inverted=True),
)


@pytest.mark.parametrize("inline", [False, True])
@pytest.mark.parametrize(("seed", "first_row"), [(0, 0), (-5, 3), (2**63 - 1, 2**62)])
def test_noise_is_found_by_name(seed: int, first_row: int, inline: bool) -> None:
    """All distributions, streams out of order, last words half used; beside masks of both kinds."""
    net, names = Noises(), [f"n{number}" for number in range(len(NOISES))]
    for stream, shared in ((20, False), (21, True)):
        keep = net.build.emit(KeepMask(SHAPE, 0.3, stream, shared), loc=LOC, name=f"m{stream}")
        net.value = net.build.emit(Select(), net.value, keep, loc=LOC, name=f"drop{stream}")
    for name, op in zip(names, NOISES, strict=True):
        made = net.build.emit(op, loc=LOC, name=name)
        (net.add if op.shape == SHAPE else net.multiply)(made)
    found = exposed(net.model(), names, 5, seed, first_row, inline=inline)
    draw = Draw.of(seed, range(4), range(first_row, first_row + 5))
    for name, op in zip(names, NOISES, strict=True):
        assert found[name].shape == op.draw(draw).shape
        assert np.array_equal(found[name], op.draw(draw)), op
    assert (found["n5"] == 1).all()
    assert not found["n6"].any()


def table_nodes(model: Model) -> list[str]:
    nodes = onnx.load_model_from_string(emit(model)).graph.node
    return [n.output[0] for n in nodes if n.op_type == "CumSum"]


def test_noise_of_one_distribution_has_one_table() -> None:
    """It is made of the lanes where it changes: 64 kB would be stored otherwise."""
    net = Noises()
    for number, op in enumerate((NOISES[0], NOISES[2], NOISES[1], NOISES[0])):
        net.add(net.build.emit(replace(op, stream=number), loc=LOC, name=f"n{number}"))
    model = net.model()
    assert len(table_nodes(model)) == 2
    assert len(emit(model)) < 2**15
    assert_values_equal(model, 3)


def test_a_lane_that_equals_a_threshold_has_its_code() -> None:
    lanes = Draw.of(1, [0], [0]).lanes(0, 4, shared=False)[0, 0].astype(int)
    for lane, number in enumerate(lanes):
        for more in (0, 1):
            op = NoiseCodes((4,), 0, (int(number) + more,), codes(1))
            net = Noises((4,))
            net.add(net.build.emit(op, loc=LOC, name="n"))
            found = exposed(net.model(1), ["n"], 1, 1, 0, inline=False)
            assert found["n"][0, 0, lane] == 1 - more


@pytest.mark.few(1)
@pytest.mark.parametrize("many", [1, 40, 10**6])
@pytest.mark.parametrize("few", [0, 10**6])
def test_streams_are_drawn_in_groups(many: int, few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One by one, some together, all at once; steps stored or computed: the same numbers."""
    monkeypatch.setattr(streams, "_MANY_WORDS", many)
    monkeypatch.setattr(streams, "_FEW_WORDS", few)
    for seed in range(12):
        assert_equal(random_integer_model(seed, ops="draws"), 2, seed)
