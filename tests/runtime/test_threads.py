"""One Session, many Python threads."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
from numpy.typing import NDArray

from qbnnc.runtime import load
from qbnnc.runtime.memory import LARGEST_KEPT, ArenaPool
from tests.runtime.nets import images, resnet


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


def test_arenas_are_not_shared() -> None:
    pool = ArenaPool()
    with pool.take(100) as a, pool.take(1000) as b:
        assert a.size >= 100
        assert b.size >= 1000
        assert not np.shares_memory(a, b)
        assert a.ctypes.data % 64 == b.ctypes.data % 64 == 0
    with pool.take(50) as again:
        assert again is a or again is b
    with pool.take(LARGEST_KEPT + 1) as huge:
        assert huge.size > LARGEST_KEPT
    with pool.take(50) as after:
        assert after.size < LARGEST_KEPT
