"""How long predictions take, compared fairly: contenders take turns in one process."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Contender = Callable[[], object]
_LEAST_TURNS = 3


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times longer one contender takes than another.

    `median` is the ratio of the medians; `low` and `high` that of the quartiles farthest apart.
    """

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f}-{self.high:.2f})"


def take_turns(contenders: Mapping[str, Contender], seconds: float) -> dict[str, list[float]]:
    """Seconds of each call of each, by name: in turns until `seconds` have passed, 3 at least.

    Each is called once before.
    """
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for call in contenders.values():
        call()
    end, turns = time.perf_counter() + seconds, 0
    while turns < _LEAST_TURNS or time.perf_counter() < end:
        for name, call in contenders.items():
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
        turns += 1
    return times


def ratio(theirs: Sequence[float], ours: Sequence[float]) -> Ratio:
    """Of times of two contenders, each at least one."""
    a, b = sorted(theirs), sorted(ours)
    return Ratio(
        statistics.median(a) / statistics.median(b),
        _quartile(a, 1) / _quartile(b, 3),
        _quartile(a, 3) / _quartile(b, 1),
    )


def _quartile(ordered: Sequence[float], number: int) -> float:
    return ordered[(len(ordered) - 1) * number // 4]
