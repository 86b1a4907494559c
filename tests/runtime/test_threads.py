"""One Session, many Python threads."""

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import chain
from threading import Barrier, Event, Thread, current_thread

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from qbnnc.ir.model import Model
from qbnnc.runtime import load
from qbnnc.runtime.arena import LARGEST_KEPT, ArenaPool
from qbnnc.runtime.isa import Isa, chosen
from qbnnc.runtime.plan import Plan, Work, plan
from qbnnc.runtime.program import Phase
from qbnnc.runtime.threads import Task, Workers, split
from qbnnc.support.errors import InputError
from tests.examples import examples
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
    monkeypatch.setattr("qbnnc.runtime.threads.WORTH", 1e-12)
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
    time = Work(1e-3, 1e-2 if sampled else 0.0, 1e-3)
    plans = [replace(plan(mlp().graph), time=time)] * members
    seen = np.zeros((members, draws, batch), int)
    for task in chain.from_iterable(split(plans, batch, draws, threads)):
        seen[task.member, task.draws.start : task.draws.stop, task.rows.start : task.rows.stop] += 1
    assert (seen == 1).all()


def test_small_predictions_use_one_thread() -> None:
    plans = [plan(mlp().graph)]
    assert split(plans, 1, 1, 64) == [[Task(0, range(1), range(1))]]
    assert split(plans * 3, 1, 1, 64) == [[Task(i, range(1), range(1)) for i in range(3)]]


def timed(row: float = 0.0, sample: float = 0.0, copy: float = 0.0) -> Plan:
    """Make a plan of these seconds."""
    return replace(plan(mlp().graph), time=Work(row, sample, copy))


@pytest.mark.parametrize(("seconds", "calls"), [(390e-6, 1), (410e-6, 2), (590e-6, 2), (0.1, 4)])
def test_threads_are_worth_a_time(seconds: float, calls: int) -> None:
    assert len(split([timed(copy=seconds / 20)], 1, 20, 4)) == calls


def test_products_take_less_time_on_a_better_instruction_set() -> None:
    rates = [isa.products_per_second for isa in (Isa.GENERIC, Isa.AVX2, Isa.AVX512_VNNI)]
    assert rates == sorted(rates)
    made, isa = plan(lenet().graph), chosen()
    suffix = [s.instruction for s in made.steps if s.phase is Phase.SUFFIX]
    products = sum(i.work for i in suffix if i.name() == "convolve")
    other = (made.work.copy - products) / isa.other_work_per_second
    assert made.time.copy == pytest.approx(products / isa.products_per_second + other)


def test_weights_that_no_cache_holds_take_time() -> None:
    """Twenty members of 400 KB take most of a millisecond to read."""
    member = replace(timed(copy=1e-6), constant_bytes=400_000)
    assert len(split([member] * 2, 1, 1, 2)) == 1
    assert len(split([member] * 20, 1, 1, 2)) == 8


def test_rows_are_split_finely_where_that_repeats_nothing() -> None:
    assert len(split([timed(row=1e-3, copy=1e-3)], 64, 20, 2)) == 8
    assert len(split([timed(row=1e-3, copy=1e-3)], 6, 20, 2)) == 2  # calls of too few rows
    assert len(split([timed(row=1e-3, sample=0.1, copy=1e-3)], 64, 1, 2)) == 2  # masks drawn again
    assert len(split([timed(row=9e-3, copy=1e-3)], 1, 200, 2)) == 2  # the prefix computed again
    assert len(split([timed(row=1e-6, sample=1e-2, copy=1e-3)], 4, 200, 2)) == 8
    assert len(split([timed(copy=1e-6)], 64, 12, 2)) == 2  # not three calls for two threads


@given(st.integers(1, 5), st.integers(0, 40))
@examples(30)
def test_workers_run_each_task_once(threads: int, tasks: int) -> None:
    done = list[int]()
    Workers(threads).run(range(tasks), done.append)
    assert sorted(done) == list(range(tasks))


def test_helpers_sleep_between_predictions_and_end_with_their_pool() -> None:
    workers, running = Workers(3), set[Thread]()

    def work(_: int) -> None:
        together.wait()
        running.add(current_thread())

    for _ in range(5):
        together = Barrier(3, timeout=60)
        workers.run(range(3), work)
    helpers = running - {current_thread()}
    assert len(helpers) == 2
    del workers
    for helper in helpers:
        helper.join(60)
        assert not helper.is_alive()


def test_predictions_at_once_share_the_helpers() -> None:
    """The second one finds the only helper busy, and runs in its caller's thread alone."""
    workers, held, entered = Workers(2), Event(), Barrier(3, timeout=60)
    callers = set[Thread]()

    def hold(_: int) -> None:
        entered.wait()
        assert held.wait(60)

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(workers.run, range(2), hold)
        entered.wait()
        workers.run(range(5), lambda _: callers.add(current_thread()))
        held.set()
        first.result()
    assert callers == {current_thread()}


FORK = """
import os, sys
import numpy as np
from qbnnc.runtime.threads import Workers
workers, done = Workers(2), []
workers.run(range(9), done.append)
child = os.fork()
workers.run(range(9), done.append)
assert len(done) == 18
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without fork")
def test_a_fork_has_helpers_of_its_own() -> None:
    done = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")


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
