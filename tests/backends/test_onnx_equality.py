"""onnxruntime's samples are the oracle's, bit for bit, on random INTEGER models."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbnnc.ir.graph import Value
from qbnnc.ir.model import Model
from qbnnc.ir.ops import (
    Choice,
    ChoiceIndex,
    EmbeddingCodes,
    MatMulInteger,
    NoiseCodes,
    Op,
    Part,
    ops_of,
)
from qbnnc.ir.oracle import oracle_samples
from qbnnc.ir.types import Array, Stage
from tests.backends.equality import EVERY_MODEL, artefact, assert_equal, same_bits
from tests.examples import examples, nightly_but
from tests.strategies import Ops, input_batch, integer_models, random_integer_model

SEEDS = st.sampled_from((0, 7, -1, -(2**63), 2**63 - 1))
FIRST_ROWS = st.sampled_from((0, 1, 1000, 2**40))
BATCHES = st.sampled_from((1, 3, 7))


@examples(150)
@given(integer_models(), BATCHES, SEEDS, FIRST_ROWS, st.integers(1, 5))
def test_samples_are_the_oracles(
    model: Model, rows: int, seed: int, first_row: int, samples: int
) -> None:
    assert_equal(model, rows, seed, first_row, samples if model.stochastic else 1)


@examples(150)
@given(integer_models(ops="all"), BATCHES, SEEDS, FIRST_ROWS, st.integers(1, 5))
def test_samples_of_every_op_are_the_oracles(
    model: Model, rows: int, seed: int, first_row: int, samples: int
) -> None:
    assert_equal(model, rows, seed, first_row, samples if model.stochastic else 1)


@examples(60)
@given(integer_models(ops="all", dropout=False, sampled=True), BATCHES, SEEDS, st.integers(1, 4))
def test_weights_alone_may_be_random(model: Model, rows: int, seed: int, samples: int) -> None:
    assert_equal(model, rows, seed, 7, samples if model.stochastic else 1)


@examples(40)
@given(integer_models(dropout=False) | integer_models(ops="all", dropout=False), BATCHES)
def test_pointwise_models_have_one_sample(model: Model, rows: int) -> None:
    assert model.samples == 1
    assert_equal(model, rows)


@examples(40)
@given(
    integer_models(members=3)
    | integer_models(members=3, ops="all")
    | integer_models(members=3, ops="draws"),
    BATCHES,
    SEEDS,
)
def test_ensembles_interleave_their_members(model: Model, rows: int, seed: int) -> None:
    assert_equal(model, rows, seed, 5, 3 * model.draws)


@examples(20)
@given(integer_models(members=2, ops="all", dropout=False), BATCHES)
def test_deterministic_members_are_the_samples(model: Model, rows: int) -> None:
    assert model.samples == 2
    assert_equal(model, rows)


@examples(30)
@given(integer_models(classification=True, ops="all"), BATCHES)
def test_classification_statistics(model: Model, rows: int) -> None:
    assert_equal(model, rows)


@examples(20)
@given(EVERY_MODEL, st.integers(1, 6))
def test_a_batch_may_be_split(model: Model, step: int) -> None:
    x, whole = input_batch(model, 6), artefact(model)
    expected = whole.predict(x, seed=9, first_row=11)
    found = whole.predict(x, seed=9, first_row=11, batch_size=step)
    for name in whole.description.sample_names:
        assert same_bits(found[name], expected[name])


@examples(20)
@given(EVERY_MODEL, st.integers(1, 4))
def test_a_sample_does_not_depend_on_how_many_there_are(model: Model, count: int) -> None:
    if not model.stochastic:
        return
    x = input_batch(model, 3)
    found = artefact(model, 5).predict(x, samples=count, seed=2)
    expected = artefact(model, count).predict(x, seed=2)
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=1e-6)
        assert same_bits(found[name], array) or not name.startswith("samples")


@pytest.mark.few(2)
@pytest.mark.parametrize("seed", range(6))
def test_two_threads_give_the_same_bits(seed: int) -> None:
    model = random_integer_model(seed, ops="draws")
    x = input_batch(model, 40)
    one, two = (artefact(model, threads=n).predict(x, seed=1) for n in (1, 2))
    assert all(same_bits(one[name], two[name]) for name in one)


@pytest.mark.few(4)
@pytest.mark.parametrize("ops", ["basic", "all", "draws"])
@pytest.mark.parametrize("seed", range(12))
def test_an_empty_batch_gives_empty_outputs(seed: int, ops: Ops) -> None:
    model = random_integer_model(seed, members=1 + seed % 2, ops=ops)
    x = np.empty((0, *model.graph.input.type.shape), np.float32)
    for name, array in artefact(model).predict(x).items():
        assert array.shape[int(name.startswith("samples"))] == 0


@pytest.mark.few(2)
@pytest.mark.parametrize(
    "value", [np.inf, -np.inf, 1e38, -1e38, 0.0, -0.0, np.finfo(np.float32).tiny]
)
def test_extreme_inputs(value: float) -> None:
    for seed in range(6):
        model = random_integer_model(seed)
        x = np.full((2, *model.graph.input.type.shape), value, np.float32)
        (expected, *_) = oracle_samples(model, x, samples=model.samples)
        found = artefact(model).predict(x)[model.head.sample_names(len(model.graph.outputs))[0]]
        assert same_bits(found, expected)


@pytest.mark.parametrize("ops", ["basic", "all", "draws"])
def test_codes_of_the_strategy_are_spread(ops: Ops) -> None:
    """Else the tests above could not fail: many codes must be neither the least nor the most."""
    inside, total = 0, 0

    def observe(member: int, value: Value, codes: Array) -> None:
        nonlocal inside, total
        name, quant = value.name, value.type.quant
        if name.endswith((".q", ".weight")) and quant is not None and quant.high > 3:
            inside += int(((codes > codes.min()) & (codes < codes.max())).sum())
            total += codes.size

    for seed in range(60):
        model = random_integer_model(seed, ops=ops)
        x = input_batch(model, 8, seed)
        oracle_samples(model, x, samples=model.samples, observe=observe)
    assert inside > 0.4 * total


def drawn_ops(ops: Ops) -> set[type[Op]]:
    return {type(n.op) for s in range(80) for n in random_integer_model(s, ops=ops).graph.nodes}


def test_the_strategies_draw_every_op() -> None:
    """Ids have graphs of their own (tests/tokens.py)."""
    every, drawn = ops_of(Stage.INTEGER) - {EmbeddingCodes}, {Choice, ChoiceIndex, NoiseCodes}
    assert drawn_ops("all") == every - drawn - {MatMulInteger, Part}
    assert drawn_ops("draws") == every - {MatMulInteger, Part}
    assert drawn_ops("products") == every - {Part}
    assert Part in drawn_ops("parts")
    found = {type(n.op) for s in range(80) for n in random_integer_model(s).graph.nodes}
    assert len(found) == 12  # networks with dropout need no more


@pytest.mark.parametrize("ops", ["basic", "all"])
@pytest.mark.parametrize("part", nightly_but([4], range(10)))
def test_samples_are_the_oracles_for_thousands_of_models(part: int, ops: Ops) -> None:
    for seed in range(1000 + part * 200, 1200 + part * 200):
        dropout = ops == "basic" or seed % 3 > 0
        model = random_integer_model(
            seed, members=1 + (seed % 7 == 0), ops=ops, dropout=dropout, sampled=ops == "all"
        )
        assert_equal(model, 1 + seed % 5, seed * 12345 - 10**7, seed % 3)
