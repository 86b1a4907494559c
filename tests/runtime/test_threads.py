"""One Session, many Python threads."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import chain
from threading import Barrier, Event

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from qbnnc.ir.model import Model
from qbnnc.runtime import load
from qbnnc.runtime.arena import LARGEST_KEPT, ArenaPool
from qbnnc.runtime.plan import Work, plan
from qbnnc.runtime.threads import Task, Workers, split
from qbnnc.support.errors import InputError
from tests.runtime.nets import images, lenet, mlp, resnet
from tests.runtime.sampled import bayes_mlp


def test_eight_threads_give_equal_bits() -> None:
    model = resnet()
    session, barrier = load(model), Barrier(8)
    x = images(model, 40)
    want = [session.predict(x, 6, seed=s).samples for s in range(8)]

    def work(number: int) -> list[NDArray[np.float32]]:
        barrier.wait()
        seeds = [(number + i) % 8 for i in range(12)]
        rows = [None if i % 2 else 7 for i in range(12)]
        return [
            session.predict(x, 6, seed=s, batch_size=b).samples
            for s, b in zip(seeds, rows, strict=True)
        ]

    with ThreadPoolExecutor(8) as pool:
        for number, results in enumerate(pool.map(work, range(8))):
            for i, result in enumerate(results):
                assert np.array_equal(result, want[(number + i) % 8])


@pytest.mark.few(8)
@pytest.mark.parametrize("make", [lenet, mlp, resnet, bayes_mlp])
@pytest.mark.parametrize("batch", [1, 2, 9])
@pytest.mark.parametrize("threads", [2, 3, 7])
def test_any_number_of_threads_gives_equal_bits(
    make: Callable[..., Model], batch: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qbnnc.runtime.threads.WORTH", 1.0)
    model = make()
    members = replace(model, members=(model.graph, make(seed=1).graph, make(seed=2).graph))
    x = images(model, batch)
    for whole, samples in ((model, 5), (members, 6)):
        want = load(whole, threads=1).predict(x, samples, seed=3, first_row=2)
        session = load(whole, threads=threads)
        for batch_size in (None, 4):
            made = session.predict(x, samples, seed=3, first_row=2, batch_size=batch_size)
            assert np.array_equal(made.samples, want.samples)
            assert all(np.array_equal(made[name], array) for name, array in want.items())


@given(st.integers(0, 40), st.integers(1, 30), st.integers(1, 9), st.integers(1, 4), st.booleans())
def test_tasks_cover_everything_once(
    batch: int, draws: int, threads: int, members: int, sampled: bool
) -> None:
    work = Work(1e8, 1e9 if sampled else 0.0, 1e8)
    plans = [replace(plan(mlp().graph), work=work)] * members
    seen = np.zeros((members, draws, batch), int)
    for task in chain.from_iterable(split(plans, batch, draws, threads)):
        seen[task.member, task.draws.start : task.draws.stop, task.rows.start : task.rows.stop] += 1
    assert (seen == 1).all()


def test_small_predictions_use_one_thread() -> None:
    plans = [plan(mlp().graph)]
    assert split(plans, 1, 1, 64) == [[Task(0, range(1), range(1))]]
    assert split(plans * 3, 1, 1, 64) == [[Task(i, range(1), range(1)) for i in range(3)]]


def test_an_error_of_a_task_is_raised() -> None:
    def fail(task: Task) -> None:
        if task.member == 2:
            raise ValueError("two")

    with pytest.raises(ValueError, match="two"):
        Workers(3).run([Task(i, range(1), range(1)) for i in range(5)], fail)


def test_an_error_waits_for_the_others() -> None:
    """Errors are raised after all threads have ended, which write to arrays of the caller."""
    failing, done = Event(), list[int]()

    def work(task: Task) -> None:
        if task.member == 0:
            failing.set()
            raise ValueError("zero")
        assert failing.wait(10)
        done.append(task.member)

    with pytest.raises(ValueError, match="zero"):
        Workers(2).run([Task(i, range(1), range(1)) for i in range(2)], work)
    assert done == [1]


@pytest.mark.parametrize("threads", [0, -1, 1.5])
def test_wrong_numbers_of_threads(threads: int) -> None:
    with pytest.raises(InputError, match="threads"):
        load(mlp(), threads=threads)


def test_arenas_are_not_shared() -> None:
    pool = ArenaPool()
    a, b = pool.take(100), pool.take(1000)
    assert a.size >= 100
    assert b.size >= 1000
    assert not np.shares_memory(a, b)
    assert a.ctypes.data % 64 == b.ctypes.data % 64 == 0
    pool.give_back(b)
    assert pool.take(50) is b
    pool.give_back(a)
    pool.give_back(pool.take(LARGEST_KEPT + 1))
    assert pool.take(50).size < LARGEST_KEPT
