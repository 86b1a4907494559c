"""Laws of row ids: a row's bits depend on its own id, whatever stands beside it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from qbnnc.backends.onnx import emit
from qbnnc.backends.onnx.session import OnnxArtefact
from qbnnc.ir.model import Model
from qbnnc.ir.oracle import oracle_samples
from qbnnc.runtime import load
from tests.backends.equality import same_bits
from tests.examples import examples
from tests.runtime.nets import images, lenet
from tests.strategies import Ops, input_batch, integer_models, random_integer_model

MODELS = (
    integer_models()
    | integer_models(ops="all")
    | integer_models(ops="draws")
    | integer_models(members=2)
    | integer_models(ops="all", members=3)
    | integer_models(ops="draws", members=2)
)
SEED = 5


def oracle(
    model: Model, x: NDArray[np.float32], ids: NDArray[np.int64]
) -> tuple[NDArray[np.float32], ...]:
    """Each row alone, as the first row of a batch: no code for ids is used."""
    rows = [
        oracle_samples(model, x[i : i + 1], samples=model.samples, seed=SEED, first_row=int(row))
        for i, row in enumerate(ids)
    ]
    return tuple(np.concatenate(each, axis=1) for each in zip(*rows, strict=True))


@given(MODELS, st.lists(st.integers(0, 4) | st.integers(0, 2**63 - 1), min_size=1, max_size=7))
@examples(40)
def test_any_ids_in_every_backend(model: Model, numbers: list[int]) -> None:
    ids, x = np.array(numbers), input_batch(model, len(numbers))
    session, file = load(model), OnnxArtefact.from_bytes(emit(model, row_ids=True), threads=1)
    found = [
        session.predict(x, seed=SEED, row_ids=ids),
        session.predict(x, seed=SEED, row_ids=numbers, batch_size=2),
        file.predict(x, seed=SEED, row_ids=ids),
        file.predict(x, seed=SEED, row_ids=numbers, batch_size=2),
    ]
    want = oracle(model, x, ids)
    made = oracle_samples(model, x, samples=model.samples, seed=SEED, row_ids=ids)
    for name, mine, each in zip(model.head.sample_names(len(want)), made, want, strict=True):
        assert same_bits(mine, each)
        assert all(same_bits(prediction[name], each) for prediction in found)


@given(MODELS, st.integers(0, 2**63 - 9), st.integers(0, 6))
@examples(20)
def test_ids_that_count_up_are_a_first_row(model: Model, first: int, rows: int) -> None:
    x, ids = input_batch(model, rows), first + np.arange(rows)
    session, file = load(model), OnnxArtefact.from_bytes(emit(model, row_ids=True), threads=1)
    usual = OnnxArtefact.from_bytes(emit(model), threads=1)
    if rows:
        want = usual.predict(x, seed=SEED, first_row=first)
        by_first_row = file.predict(x, seed=SEED, first_row=first)
        assert all(same_bits(by_first_row[name], want[name]) for name in want)
    want = dict(session.predict(x, seed=SEED, first_row=first))
    by_ids = session.predict(x, seed=SEED, row_ids=ids)
    assert all(same_bits(by_ids[name], want[name]) for name in want)


@given(MODELS, st.permutations(range(6)), st.integers(1, 5))
@examples(20)
def test_order_and_splitting_change_no_row(model: Model, order: list[int], cut: int) -> None:
    session, x, ids = load(model), input_batch(model, 6), np.array([9, 4, 5, 6, 2, 3])
    whole = session.predict(x, seed=SEED, row_ids=ids)
    moved = session.predict(x[order], seed=SEED, row_ids=ids[order])
    first = session.predict(x[:cut], seed=SEED, row_ids=ids[:cut])
    last = session.predict(x[cut:], seed=SEED, row_ids=ids[cut:])
    for name in model.head.sample_names(len(model.graph.outputs)):
        assert same_bits(whole[name][:, order], moved[name])
        assert same_bits(whole[name], np.concatenate([first[name], last[name]], axis=1))


@pytest.mark.parametrize("number", range(6))
@pytest.mark.parametrize("ops", ["all", "draws"])
def test_predict_into(number: int, ops: Ops) -> None:
    model = random_integer_model(number, ops=ops, members=1 + number % 2)
    session, x, ids = load(model), input_batch(model, 5), np.array([3, 8, 3, 4, 0])
    out = session.new_out(5)
    session.predict_into(x, out, seed=SEED, row_ids=ids)
    want = oracle(model, x, ids)
    for view, each in zip(session.outputs_in(out, 5).values(), want, strict=True):
        assert same_bits(view, each)


def test_equal_ids_share_masks_and_others_do_not() -> None:
    model = lenet()
    x = np.repeat(images(model, 1), 4, axis=0)
    made = load(model).predict(x, 8, row_ids=[6, 2, 6, 1]).samples
    assert same_bits(made[:, 0], made[:, 2])
    assert not np.array_equal(made[:, 0], made[:, 1])
    assert not np.array_equal(made[:, 1], made[:, 3])


def test_numbers_that_rows_share_know_no_ids() -> None:
    """Only weights are random: the ids make no difference."""
    models = (random_integer_model(n, ops="all", dropout=False, sampled=True) for n in range(40))
    model = next(m for m in models if m.stochastic)
    x = input_batch(model, 3)
    (want, *_) = oracle_samples(model, x, samples=model.samples, seed=SEED)
    file = OnnxArtefact.from_bytes(emit(model, row_ids=True), threads=1)
    for found in (load(model), file):
        ids = found.predict(x, seed=SEED, row_ids=[7, 0, 7])
        assert same_bits(next(iter(ids.values())), want)
