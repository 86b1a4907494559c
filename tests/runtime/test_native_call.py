"""The C function, called by its address as another language would call it."""

from __future__ import annotations

import gc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from ctypes import CFUNCTYPE, c_int64, c_uint64, c_void_p
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from qbnnc.ir.model import Model
from qbnnc.ir.oracle import oracle_samples
from qbnnc.runtime import NativeCall, Status, load
from qbnnc.runtime.kernels.records import CALL
from qbnnc.support.errors import InputError
from tests.guard_pages import Side, fenced_bytes, fenced_copy
from tests.runtime.nets import Net, images, lenet, mlp, resnet
from tests.runtime.sampled import bayes_mlp

POINTER, SIZE, NUMBER = c_void_p, c_int64, c_uint64
Predict = CFUNCTYPE(c_int64, POINTER, POINTER, SIZE, POINTER, SIZE, POINTER, SIZE, NUMBER, NUMBER)
UNTOUCHED = -7.25


@dataclass
class Arguments:
    """Arrays for one call between pages that no one may touch, and what a test makes of them."""

    call: NativeCall
    x: NDArray[np.float32]
    side: Side = Side.AFTER

    def __post_init__(self) -> None:
        self.out = fenced_copy(np.full(self.call.out_elements, UNTOUCHED, np.float32), self.side)
        self.x = fenced_copy(self.x, self.side)
        self.workspace = fenced_bytes(-(-self.call.workspace_bytes // 64) * 64, self.side)

    def run(self, seed: int = 0, first_row: int = 0, **changed: int | None) -> Status:
        given = {
            "call": self.call.call,
            "x": self.x.ctypes.data,
            "x_elements": self.x.size,
            "out": self.out.ctypes.data,
            "out_elements": self.out.size,
            "workspace": self.workspace.ctypes.data,
            "workspace_bytes": self.workspace.size,
        }
        return Status(Predict(self.call.function)(*(given | changed).values(), seed, first_row))


def ensemble() -> Model:
    members = tuple(lenet(seed=seed).graph for seed in range(3))
    return replace(lenet(), members=members)


@pytest.mark.few(6)
@pytest.mark.parametrize("make", [lenet, mlp, resnet, bayes_mlp, ensemble])
@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("side", list(Side))
def test_samples_are_the_oracle_s(make: Callable[[], Model], rows: int, side: Side) -> None:
    model = make()
    x, seed = images(model, rows), 2**64 - 3
    given = Arguments(load(model).native_call(rows, 6), x, side)
    assert given.run(seed, 2**64 - 1) is Status.DONE
    want = oracle_samples(model, x, samples=6, seed=seed, first_row=2**64 - 1)
    assert np.array_equal(given.out, np.concatenate([output.reshape(-1) for output in want]))


def test_a_call_outlives_its_session() -> None:
    model = resnet()
    given = Arguments(load(model).native_call(2, 3), images(model, 2))
    gc.collect()
    assert given.run(seed=4) is Status.DONE
    (want,) = oracle_samples(model, images(model, 2), samples=3, seed=4)
    assert np.array_equal(given.out, want.reshape(-1))


def test_threads_call_at_once() -> None:
    model = resnet()
    session, x = load(model), images(model, 4)
    call = session.native_call(4, 5)
    want = [session.predict(x, 5, seed).samples.reshape(-1) for seed in range(4)]

    def work(seed: int) -> list[NDArray[np.float32]]:
        given = Arguments(call, x)
        made = []
        for _ in range(20):
            assert given.run(seed) is Status.DONE
            made.append(given.out.copy())
        return made

    with ThreadPoolExecutor(4) as pool:
        for seed, made in enumerate(pool.map(work, range(4))):
            assert all(np.array_equal(out, want[seed]) for out in made)


def arguments() -> Arguments:
    return Arguments(load(lenet()).native_call(1, 4), images(lenet(), 1))


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"call": None}, Status.BAD_CALL),
        ({"x": None}, Status.BAD_POINTER),
        ({"out": None}, Status.BAD_POINTER),
        ({"workspace": None}, Status.BAD_POINTER),
        ({"x_elements": 783}, Status.WRONG_SIZE),
        ({"x_elements": 785}, Status.WRONG_SIZE),
        ({"x_elements": -784}, Status.WRONG_SIZE),
        ({"x_elements": 2**62}, Status.WRONG_SIZE),
        ({"out_elements": 0}, Status.WRONG_SIZE),
        ({"out_elements": 41}, Status.WRONG_SIZE),
        ({"workspace_bytes": 64}, Status.SMALL_WORKSPACE),
        ({"workspace_bytes": -1}, Status.SMALL_WORKSPACE),
    ],
)
def test_wrong_arguments_have_a_status(changed: dict[str, Any], status: Status) -> None:
    given = arguments()
    assert given.run(**changed) is status
    assert (given.out == UNTOUCHED).all()


def test_misaligned_pointers_have_a_status() -> None:
    given = arguments()
    assert given.run(call=given.call.call + 4) is Status.BAD_CALL
    assert given.run(x=given.x.ctypes.data - 2) is Status.BAD_POINTER
    assert given.run(out=given.out.ctypes.data - 1) is Status.BAD_POINTER
    assert given.run(workspace=given.workspace.ctypes.data + 32) is Status.BAD_POINTER
    assert (given.out == UNTOUCHED).all()


def test_another_record_is_no_call() -> None:
    given, other = arguments(), np.zeros(CALL.SIZE, np.int64)
    assert given.run(call=other.ctypes.data) is Status.BAD_CALL


def test_overlaps_have_a_status() -> None:
    given = arguments()
    room = given.workspace.ctypes.data
    last = room + given.call.workspace_bytes - 4
    assert given.run(out=given.x.ctypes.data) is Status.OVERLAP
    assert given.run(out=given.x.ctypes.data + given.x.nbytes - 4) is Status.OVERLAP
    for address in (room, last):
        assert given.run(out=address) is Status.OVERLAP
        assert given.run(x=address) is Status.OVERLAP


@pytest.mark.parametrize("place", [0, 15, 16, 500, 783])
def test_nan_has_a_status(place: int) -> None:
    given = arguments()
    given.x.reshape(-1)[place] = np.nan
    assert given.run() is Status.NAN
    assert (given.out == UNTOUCHED).all()


def test_wrong_numbers_are_told_in_python() -> None:
    session = load(ensemble())
    for rows, samples, message in ((0, 3, "rows: 0"), (1, 4, "multiple of the 3 ensemble")):
        with pytest.raises(InputError, match=message):
            session.native_call(rows, samples)


def test_outputs_that_python_copies_are_refused() -> None:
    net = Net((6,))
    net.linear(4)
    with pytest.raises(
        InputError, match=r"copies of it are made in Python; use predict_into of the session"
    ):
        load(net.model()).native_call(1)
