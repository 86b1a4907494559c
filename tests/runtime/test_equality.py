"""Whole networks: the runtime's samples are the oracle's, bit for bit."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbnnc.ir.model import Model
from qbnnc.ir.oracle import oracle_samples
from qbnnc.runtime import Session, load
from tests.examples import examples, nightly_but
from tests.runtime.nets import assert_equal, images, lenet, mlp, resnet
from tests.strategies import Ops, input_batch, integer_models, random_integer_model


@pytest.mark.few(4)
@pytest.mark.parametrize("make", [lenet, mlp, resnet])
@pytest.mark.parametrize("rows", [0, 1, 7, 40])
def test_networks(make: Callable[..., Model], rows: int) -> None:
    model = make(seed=rows)
    assert_equal(model, images(model, rows), samples=5, seed=rows - 1, first_row=3 * rows)


@pytest.mark.parametrize("make", [lenet, mlp, resnet])
def test_codes_are_not_all_saturated(make: Callable[..., Model]) -> None:
    """The tests above could fail: another network gives other samples."""
    model = make()
    (first, *_) = oracle_samples(model, images(model, 9), samples=4)
    assert len(np.unique(first)) > 20
    for value in load(model).trace(images(model, 9), 4).values():
        if value.dtype == np.uint8 and value.max() > 1:
            assert len(np.unique(value)) > 10


@pytest.mark.parametrize("rows", [256, 1100])
def test_more_rows_than_a_block(rows: int) -> None:
    model = mlp(1)
    assert_equal(model, images(model, rows), samples=3, seed=5)


@given(integer_models(), st.integers(0, 6), st.integers(-(2**70), 2**70), st.integers(0, 2**66))
@examples(60)
def test_random_models(model: Model, rows: int, seed: int, first_row: int) -> None:
    samples = 3 if model.stochastic else 1
    x = input_batch(model, rows)
    assert_equal(model, x, samples=samples, seed=seed, first_row=first_row, batch_size=2)


@given(integer_models(members=3, classification=True))
@examples(15)
def test_random_ensembles(model: Model) -> None:
    samples = 6 if model.stochastic else 3
    assert_equal(model, input_batch(model, 4), samples=samples, seed=11, batch_size=3)


@given(integer_models(ops="all"), st.integers(1, 6), st.integers(-(2**70), 2**70))
@examples(60)
def test_random_models_of_all_ops(model: Model, rows: int, seed: int) -> None:
    samples = 3 if model.stochastic else 1
    x = input_batch(model, rows)
    assert_equal(model, x, samples=samples, seed=seed, first_row=5, batch_size=2)


@given(
    integer_models(ops="draws") | integer_models(ops="draws", members=2),
    st.integers(1, 6),
    st.integers(-(2**70), 2**70),
    st.integers(0, 2**66),
)
@examples(60)
def test_random_models_of_all_draws(model: Model, rows: int, seed: int, first_row: int) -> None:
    samples = len(model.members) * (3 if model.stochastic else 1)
    x = input_batch(model, rows)
    assert_equal(model, x, samples=samples, seed=seed, first_row=first_row, batch_size=2)


@given(integer_models(ops="draws"), st.integers(1, 3), st.sampled_from((None, 1, 9000)))
@examples(25)
def test_threads_blocks_and_row_ids_of_all_draws(
    model: Model, threads: int, block_bytes: int | None
) -> None:
    samples = 3 if model.stochastic else 1
    session, x = Session(model, threads=threads, block_bytes=block_bytes), input_batch(model, 6)
    want = oracle_samples(model, x, samples=samples, seed=3, first_row=8)
    some = [5, 0, 3, 3]
    counted = session.predict(x, samples, 3, first_row=8)
    by_ids = session.predict(x[some], samples, 3, row_ids=[8 + row for row in some])
    for name, expected in zip(model.head.sample_names(len(want)), want, strict=True):
        assert np.array_equal(counted[name].view(np.uint32), expected.view(np.uint32))
        mine = np.ascontiguousarray(expected[:, some])
        assert np.array_equal(by_ids[name].view(np.uint32), mine.view(np.uint32))


@given(integer_models(ops="all", members=2))
@examples(15)
def test_random_ensembles_of_all_ops(model: Model) -> None:
    samples = 4 if model.stochastic else 2
    assert_equal(model, input_batch(model, 4), samples=samples, seed=11, batch_size=3)


@pytest.mark.parametrize("ops", ["basic", "all", "draws"])
@pytest.mark.parametrize("start", nightly_but([1500], range(0, 4000, 500)))
def test_thousands_of_random_models(start: int, ops: Ops) -> None:
    for number in range(start, start + 500):
        members = 1 + number % 2
        model = random_integer_model(number, members=members, ops=ops)
        samples = members * (4 if model.stochastic else 1)
        x = input_batch(model, number % 9 + (ops != "basic"), number)
        batch_size = (None, 1, 3)[number % 3]
        assert_equal(model, x, samples=samples, seed=number, first_row=7, batch_size=batch_size)
