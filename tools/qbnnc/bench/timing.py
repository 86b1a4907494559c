"""Times of predictions, compared fairly: contenders take turns in one process."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

Contender = Callable[[], object]
_LONG, _SHORT = 5.0, 0.02  # seconds


@dataclass(frozen=True, slots=True)
class Ratio:
    """The ratio of two contenders' times.

    `median` is the ratio of the medians. `low` and `high` are ratios of quartiles, the farthest
    apart.
    """

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f}-{self.high:.2f})"


def take_turns(
    contenders: Mapping[str, Contender],
    seconds: float,
    called: Collection[str] = (),
    clock: Callable[[], float] | None = None,
    warm: bool = False,
) -> dict[str, list[float]]:
    """Seconds of each call of each, by name: in turns until `seconds` have passed.

    `clock` measures the calls: `time.process_time` counts what this process computes, also where
    others take its core. `warm` calls a short one once more before the call that counts: the
    caches then hold what it needs, as they do in a loop of predictions.

    Each is called once before, if it is not one that was `called` already. Who has had more than
    its share of the time sits out a turn: slow ones are called seldom, all for as long. Each is
    called 3 times at least, but once is enough where a call takes more than 5 s.
    """
    clock = clock or time.perf_counter
    times: dict[str, list[float]] = {name: [] for name in contenders}
    spent = dict.fromkeys(contenders, 0.0)
    for name, call in contenders.items():
        if name not in called:
            call()
    end = time.perf_counter() + seconds
    while (wanting := _wanting(times)) or time.perf_counter() < end:
        share = sum(spent.values()) / len(spent)
        for name, call in contenders.items():
            if name in wanting or spent[name] <= share:
                if warm and times[name] and times[name][-1] < _SHORT:
                    call()
                start = clock()
                call()
                times[name].append(clock() - start)
                spent[name] += times[name][-1]
    return times


def _wanting(times: Mapping[str, Sequence[float]]) -> set[str]:
    """The contenders that were not called often enough."""
    return {n for n, its in times.items() if len(its) < _least(its)}


def _least(times: Sequence[float]) -> int:
    return 1 if max(times, default=0.0) > _LONG else 3


def ratio(theirs: Sequence[float], ours: Sequence[float]) -> Ratio:
    """The ratio of `theirs` to `ours`, one time or more of each."""
    a, b = sorted(theirs), sorted(ours)
    return Ratio(
        statistics.median(a) / statistics.median(b),
        _quartile(a, 1) / _quartile(b, 3),
        _quartile(a, 3) / _quartile(b, 1),
    )


def _quartile(ordered: Sequence[float], number: int) -> float:
    return ordered[(len(ordered) - 1) * number // 4]
