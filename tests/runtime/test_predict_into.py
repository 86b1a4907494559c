"""Predictions into arrays of the caller: equal bits, and errors before anything is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from qbnnc.ir.model import Model
from qbnnc.ir.oracle import oracle_samples
from qbnnc.runtime import load
from qbnnc.support.errors import InputError
from tests.examples import examples
from tests.guard_pages import Side, fenced_copy
from tests.runtime.nets import Net, images, lenet, mlp, resnet
from tests.strategies import input_batch, integer_models

UNTOUCHED = -7.25


def untouched(*shape: int) -> NDArray[np.float32]:
    return np.full(shape, UNTOUCHED, np.float32)


def ensemble(make: Callable[..., Model], members: int = 3) -> Model:
    model = make()
    return replace(model, members=tuple(make(seed=seed).graph for seed in range(members)))


@pytest.mark.parametrize("make", [lenet, resnet])
@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("side", list(Side))
def test_samples_are_the_oracle_s(make: Callable[..., Model], rows: int, side: Side) -> None:
    """x and out end at a page that no one may touch."""
    model = make()
    x = fenced_copy(images(model, rows), side)
    out = fenced_copy(untouched(4, rows, *model.graph.outputs[0].type.shape), side)
    load(model).predict_into(x, out, seed=5, first_row=2)
    (want,) = oracle_samples(model, x, samples=4, seed=5, first_row=2)
    np.testing.assert_array_equal(out.view(np.uint32), want.view(np.uint32))


@given(integer_models(), st.integers(0, 5), st.integers(1, 4), st.integers(0, 2**64 + 9))
@examples(20)
def test_samples_are_those_of_predict(model: Model, rows: int, draws: int, seed: int) -> None:
    session, x = load(model), input_batch(model, rows, 1)
    samples = draws if model.stochastic else 1
    out = session.new_out(max(rows, 1), samples)[:, :rows] if rows == 0 else None
    out = session.new_out(rows, samples) if out is None or out.ndim == 1 else out.copy()
    session.predict_into(x, out, seed, 3)
    want = session.predict(x, samples, seed, 3)
    for name, array in session.outputs_in(out, rows).items():
        assert np.array_equal(array.view(np.uint32), want[name].view(np.uint32))


def test_several_outputs_are_one_after_the_other() -> None:
    session, x = load(mlp()), images(mlp(), 3)
    out = session.new_out(3, 4)
    assert out.shape == (2 * 4 * 3,)
    session.predict_into(x, out, seed=1)
    want = session.predict(x, 4, seed=1)
    assert np.array_equal(out[:12].reshape(4, 3, 1), want.samples)
    assert np.array_equal(out[12:].reshape(4, 3, 1), want.samples_log_var)
    views = session.outputs_in(out, 3)
    assert list(views) == ["samples", "samples_log_var"]
    assert all(np.shares_memory(view, out) for view in views.values())


def test_outputs_of_which_python_makes_copies() -> None:
    """An output that does not vary with the sample is written for each of them."""
    net = Net((6,))
    net.linear(4)
    model = net.model()
    double = replace(model, members=(model.graph, model.graph))
    session, x = load(double), images(model, 3)
    out = session.new_out(3)
    session.predict_into(x, out)
    assert np.array_equal(out, session.predict(x).samples)
    assert np.array_equal(out[0], out[1])


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_and_members(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qbnnc.runtime.threads.WORTH", 1e-12)
    model = ensemble(lenet)
    session, x = load(model, threads=threads), images(model, 5)
    out = session.new_out(5, 6)
    session.predict_into(x, out, seed=9)
    (want,) = oracle_samples(model, x, samples=6, seed=9)
    assert np.array_equal(out, want)


def test_a_buffer_is_used_again() -> None:
    """The second call has the same shapes, which are known; other numbers give other samples."""
    session, x = load(resnet()), images(resnet(), 2)
    out = session.new_out(2, 3)
    for seed in (1, 2, 1):
        session.predict_into(x, out, seed)
        assert np.array_equal(out, session.predict(x, 3, seed).samples)
        session.predict_into(x[::-1], out, seed)
        assert np.array_equal(out, session.predict(x[::-1], 3, seed).samples)


def test_any_real_input_is_taken() -> None:
    session, x = load(lenet()), np.ones((2, 1, 28, 28), np.float32)
    want = session.predict(x, 3).samples
    frozen = x.copy()
    frozen.flags.writeable = False
    for other in (x.astype(np.float64), x.tolist(), np.asfortranarray(x), x[::-1], frozen):
        out = session.new_out(2, 3)
        session.predict_into(other, out)
        assert np.array_equal(out, want)


def read_only(array: NDArray[np.float32]) -> NDArray[np.float32]:
    array.flags.writeable = False
    return array


def misaligned(*shape: int) -> NDArray[np.float32]:
    room = np.zeros(4 * int(np.prod(shape)) + 1, np.uint8)
    return room[1:].view(np.float32).reshape(shape)


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (untouched(4, 2, 9), r"out: the shape is \[4, 2, 9\]; give \[samples, 2, 10\]"),
        (untouched(4, 3, 10), r"the shape is \[4, 3, 10\]"),
        (untouched(80), r"the shape is \[80\]"),
        (np.array(1, np.float32), r"the shape is \[\]"),
        (untouched(0, 2, 10), "samples: 0; take a positive multiple"),
        (np.zeros((4, 2, 10)), "the element type is float64"),
        (np.zeros((4, 2, 10), ">f4"), "the element type is >f4"),
        (untouched(4, 2, 20)[:, :, ::2], "not C-contiguous"),
        (untouched(10, 2, 4).T, "not C-contiguous"),
        (misaligned(4, 2, 10), "not aligned"),
        (read_only(untouched(4, 2, 10)), "read-only"),
        ([[0.0]], "a list; give a numpy array"),
    ],
)
@pytest.mark.parametrize("warm", [False, True])
def test_arrays_that_cannot_be_filled(out: Any, message: str, warm: bool) -> None:
    session, x = load(lenet()), images(lenet(), 2)
    if warm:
        session.predict_into(x, untouched(4, 2, 10))
    before = np.copy(out)
    with pytest.raises(InputError, match=message):
        session.predict_into(x, out)
    assert np.array_equal(out, before)


@pytest.mark.parametrize("shape", [(23,), (1, 24), (4, 3, 2), (0,)])
def test_flat_arrays_that_do_not_fit(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"give \[samples \* 6\], the 2 outputs one after"):
        load(mlp()).predict_into(images(mlp(), 3), untouched(*shape))


@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((2, 1, 28, 27), np.float32), "the input: the shape"),
        (np.zeros((1, 28, 28), np.float32), "the input: the shape"),
        (np.zeros((2, 1, 28, 28), complex), "real numbers"),
        (np.full((2, 1, 28, 28), np.nan, np.float32), "NaN in row 0"),
    ],
)
def test_inputs_that_do_not_fit(x: Any, message: str, warm: bool) -> None:
    session, out = load(lenet()), untouched(4, 2, 10)
    if warm:
        session.predict_into(images(lenet(), 2), out)
        out[...] = UNTOUCHED
    with pytest.raises(InputError, match=message):
        session.predict_into(x, out)
    assert (out == UNTOUCHED).all()


@pytest.mark.parametrize("place", range(20))
def test_nan_at_any_place(place: int) -> None:
    """Each lane of the check sees it; infinity is none."""
    session, x, out = load(mlp()), np.full((2, 10), np.inf, np.float32), untouched(12)
    session.predict_into(x, out)
    out[...] = UNTOUCHED
    x.reshape(-1)[place] = np.nan
    with pytest.raises(InputError, match=f"NaN in row {place // 10}; remove"):
        session.predict_into(x, out)
    assert (out == UNTOUCHED).all()


@pytest.mark.parametrize("first", [0, 5, 79, 80, 100])
def test_an_out_that_overlaps_the_input(first: int) -> None:
    """The last byte that they share counts, and neighbours share none."""
    session, room = load(lenet()), untouched(80 + 784 + 80)
    x = room[80 : 80 + 784].reshape(1, 1, 28, 28)
    with pytest.raises(InputError, match=r"out: it shares memory with the input; give an array"):
        session.predict_into(x, room[first + 1 : first + 81].reshape(8, 1, 10))
    assert (room == UNTOUCHED).all()
    for neighbour in (room[:80], room[-80:]):
        session.predict_into(x, neighbour.reshape(8, 1, 10))
        assert (x == UNTOUCHED).all()


@pytest.mark.parametrize(
    ("seed", "first_row", "message"),
    [(1.0, 0, "seed: 1.0"), (True, 0, "seed: True"), (0, -1, "first_row: -1"), (0, "a", "first")],
)
def test_wrong_numbers(seed: Any, first_row: Any, message: str) -> None:
    session, out = load(mlp()), untouched(2)
    with pytest.raises(InputError, match=message):
        session.predict_into(images(mlp(), 1), out, seed, first_row)
    assert (out == UNTOUCHED).all()


def test_members_divide_the_samples() -> None:
    model = ensemble(lenet)
    with pytest.raises(InputError, match="multiple of the 3 ensemble"):
        load(model).predict_into(images(model, 1), untouched(4, 1, 10))


@pytest.mark.parametrize(
    ("rows", "samples", "message"), [(0, 1, "rows: 0"), (1, 0, "samples: 0"), ("1", 1, "rows")]
)
def test_wrong_sizes_of_a_new_out(rows: Any, samples: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load(mlp()).new_out(rows, samples)
