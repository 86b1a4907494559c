"""onnxruntime's samples are the oracle's, bit for bit, on random INTEGER models."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from qbnnc.backends.onnx import emit
from qbnnc.backends.onnx.session import OnnxArtefact
from qbnnc.ir.graph import Value
from qbnnc.ir.model import Model
from qbnnc.ir.ops import Requantize
from qbnnc.ir.oracle import oracle_prediction, oracle_samples
from qbnnc.ir.types import Array
from tests.strategies import input_batch, integer_models, random_integer_model

SEEDS = st.sampled_from((0, 7, -1, -(2**63), 2**63 - 1))
FIRST_ROWS = st.sampled_from((0, 1, 1000, 2**40))
BATCHES = st.sampled_from((1, 3, 7))


def same_bits(a: NDArray[np.float32], b: NDArray[np.float32]) -> bool:
    return a.shape == b.shape and np.array_equal(a.view(np.uint32), b.view(np.uint32))


def artefact(model: Model, samples: int | None = None, threads: int = 1) -> OnnxArtefact:
    return OnnxArtefact.from_bytes(emit(model, samples=samples), threads=threads)


def assert_equal(
    model: Model, rows: int, seed: int = 3, first_row: int = 0, samples: int | None = None
) -> None:
    """Samples by bit pattern, statistics within the tolerance of docs/semantics.md, section 4."""
    count, x = model.samples if samples is None else samples, input_batch(model, rows, seed % 1000)
    found = artefact(model, samples).predict(x, seed=seed, first_row=first_row)
    expected = oracle_prediction(model, x, samples=count, seed=seed, first_row=first_row)
    assert list(found) == list(expected)
    largest = max(np.abs(a).max(initial=1) for n, a in expected.items() if n.startswith("samples"))
    for name, array in expected.items():
        if name.startswith("samples"):
            assert same_bits(found[name], array), name
        else:
            assert found[name].dtype == np.float32
            np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=1e-6 * largest)


@settings(max_examples=150)
@given(integer_models(), BATCHES, SEEDS, FIRST_ROWS, st.integers(1, 5))
def test_samples_are_the_oracles(
    model: Model, rows: int, seed: int, first_row: int, samples: int
) -> None:
    assert_equal(model, rows, seed, first_row, samples if model.stochastic else 1)


@settings(max_examples=40)
@given(integer_models(dropout=False), BATCHES)
def test_pointwise_models_have_one_sample(model: Model, rows: int) -> None:
    assert model.samples == 1
    assert_equal(model, rows)


@settings(max_examples=30)
@given(integer_models(members=3), BATCHES, SEEDS)
def test_ensembles_interleave_their_members(model: Model, rows: int, seed: int) -> None:
    assert_equal(model, rows, seed, 5, 3 * model.draws)


@settings(max_examples=30)
@given(integer_models(classification=True), BATCHES)
def test_classification_statistics(model: Model, rows: int) -> None:
    assert_equal(model, rows)


@settings(max_examples=20)
@given(integer_models(), st.integers(1, 6))
def test_a_batch_may_be_split(model: Model, step: int) -> None:
    x, whole = input_batch(model, 6), artefact(model)
    expected = whole.predict(x, seed=9, first_row=11)
    found = whole.predict(x, seed=9, first_row=11, batch_size=step)
    for name in whole.description.sample_names:
        assert same_bits(found[name], expected[name])


@settings(max_examples=20)
@given(integer_models(), st.integers(1, 4))
def test_a_sample_does_not_depend_on_how_many_there_are(model: Model, count: int) -> None:
    if not model.stochastic:
        return
    x = input_batch(model, 3)
    found = artefact(model, 5).predict(x, samples=count, seed=2)
    expected = artefact(model, count).predict(x, seed=2)
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=1e-6)
        assert same_bits(found[name], array) or not name.startswith("samples")


@pytest.mark.parametrize("seed", range(6))
def test_two_threads_give_the_same_bits(seed: int) -> None:
    model = random_integer_model(seed)
    x = input_batch(model, 40)
    one, two = (artefact(model, threads=n).predict(x, seed=1) for n in (1, 2))
    assert all(same_bits(one[name], two[name]) for name in one)


@pytest.mark.parametrize("seed", range(8))
def test_an_empty_batch_gives_empty_outputs(seed: int) -> None:
    model = random_integer_model(seed, members=1 + seed % 2)
    x = np.empty((0, *model.graph.input.type.shape), np.float32)
    for name, array in artefact(model).predict(x).items():
        assert array.shape[int(name.startswith("samples"))] == 0


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


def test_codes_of_the_strategy_are_spread() -> None:
    """Else the tests above could not fail: most codes must be neither the least nor the most."""
    inside, total = 0, 0

    def observe(member: int, value: Value, codes: Array) -> None:
        nonlocal inside, total
        if value.name.endswith(".q") and value.type.quant is not None and value.type.quant.high > 3:
            inside += int(((codes > codes.min()) & (codes < codes.max())).sum())
            total += codes.size

    for seed in range(60):
        model = random_integer_model(seed)
        x = input_batch(model, 8, seed)
        oracle_samples(model, x, samples=model.samples, observe=observe)
    assert inside > total / 2


def test_the_strategy_draws_every_op() -> None:
    kinds = {type(n.op).__name__ for s in range(80) for n in random_integer_model(s).graph.nodes}
    assert Requantize.__name__ in kinds
    assert len(kinds) == 12  # every op of the INTEGER stage


@pytest.mark.slow
@pytest.mark.parametrize("part", range(10))
def test_samples_are_the_oracles_for_thousands_of_models(part: int) -> None:
    for seed in range(1000 + part * 200, 1200 + part * 200):
        model = random_integer_model(seed, members=1 + (seed % 7 == 0))
        assert_equal(model, 1 + seed % 5, seed * 12345 - 10**7, seed % 3)
