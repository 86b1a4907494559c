"""Signals that end a process wait while files are written."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType

_ENDING = ("SIGINT", "SIGTERM", "SIGHUP")
_DEFAULTS = (signal.SIG_DFL, signal.default_int_handler)


class _Stopped(BaseException):
    """A signal waits: whatever is under way is undone first."""


@contextmanager
def held_signals() -> Iterator[Callable[[], None]]:
    """Hold SIGINT, SIGTERM and SIGHUP until the end, or until the yielded function is called.

    The function leaves the `with`, which undoes what it holds. The signals have their effect then.

    Handlers of a program's own run at once, as ever. A thread that is not the main one gets no
    signals, and none are held there.
    """
    caught: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        caught.append(number)

    def check() -> None:
        if caught:
            raise _Stopped

    held = _held(note)
    try:
        yield check
    except _Stopped:
        pass
    finally:
        for number, handler in held.items():
            signal.signal(number, handler)
        if caught:
            signal.raise_signal(caught[0])


_Handler = Callable[[int, FrameType | None], object] | int | signal.Handlers | None


def _held(note: Callable[[int, FrameType | None], None]) -> Mapping[int, _Handler]:
    """The handlers that `note` takes the place of."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    numbers = [getattr(signal, name) for name in _ENDING if hasattr(signal, name)]
    found = {n: h for n in numbers if (h := signal.getsignal(n)) in _DEFAULTS}
    for number in found:
        signal.signal(number, note)
    return found
