"""Arenas that predictions take and give back, so that threads never share one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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

    @contextmanager
    def take(self, count: int) -> Iterator[NDArray[np.uint8]]:
        """At least `count` bytes that nobody else has, not cleared."""
        with self._lock:
            arena = self._free.pop() if self._free else None
        if arena is None or arena.size < count:
            arena = aligned_bytes(count)
        try:
            yield arena
        finally:
            if arena.size <= LARGEST_KEPT:
                with self._lock:
                    self._free.append(arena)
