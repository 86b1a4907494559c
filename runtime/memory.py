"""Arenas that predictions take and give back, so that threads never share one."""

from __future__ import annotations

from threading import Lock

import numpy as np
from numpy.typing import NDArray

from qbnnc.runtime.packing import aligned_bytes

LARGEST_KEPT = 64 << 20  # bytes; a larger arena is freed after its prediction


class ArenaPool:
    """As many arenas as there are predictions at once."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._free: list[NDArray[np.uint8]] = []

    def take(self, count: int) -> NDArray[np.uint8]:
        """At least `count` bytes that nobody else has until they are given back, not cleared."""
        with self._lock:
            arena = self._free.pop() if self._free else None
        return arena if arena is not None and arena.size >= count else aligned_bytes(count)

    def give_back(self, arena: NDArray[np.uint8]) -> None:
        """For the next prediction."""
        if arena.size <= LARGEST_KEPT:
            with self._lock:
                self._free.append(arena)
