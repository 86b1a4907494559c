"""The part of a module's state that changes its outputs, found by putting it back in parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

from torch import Tensor

from qbnnc.frontend.module.snapshot import Snapshot, outermost

_STEPS = (1, 2, 3, 16, 64, 100, 128, 1000, 1024, 10_000)  # a counter may be divided before use
_MOST_TRIED = 16
_SHOWN = 4


@dataclass(frozen=True, slots=True)
class Blame:
    """The attributes, buffers and variables that forward changes, and on which it depends."""

    names: tuple[str, ...]

    def __str__(self) -> str:
        known = [name if "." in name or " " in name else f"self.{name}" for name in self.names]
        shown = ", ".join(known[:_SHOWN]) or "in an iterator or outside the module"
        return shown + f" and {len(self.names) - _SHOWN} more" * (len(self.names) > _SHOWN)


def blamed(
    saved: Snapshot, later: Sequence[Snapshot], differs: Callable[[int], bool], known: bool
) -> Blame:
    """The places that `later` states have changed, and after which a call `differs`.

    Places are tried one at a time, and changed counters at larger numbers also. If it is `known`
    that the state matters but no single place does, the result is all changed places. `saved` is
    put back.
    """
    changed = [(name, after) for after in later for name in saved.changed(after)]
    guilty = list[str]()
    for name, after in changed[:_MOST_TRIED]:
        after.restore([name])
        found = differs(0) or differs(1)
        saved.restore()
        if found or (not known and _matters(saved, name, differs)):
            guilty.append(name)
    return Blame(tuple(outermost(guilty or ([name for name, _ in changed] if known else []))))


def _matters(saved: Snapshot, name: str, differs: Callable[[int], bool]) -> bool:
    """Whether a call differs once a changed counter has reached larger numbers."""
    place = saved.places.get(name)
    if place is None or place.assign is None:
        return False
    for step in _STEPS:
        place.assign(_number(cast(int | Tensor, place.value)) + step)
        found = differs(0)
        saved.restore()
        if found:
            return True
    return False


def _number(value: int | Tensor) -> int:
    """The number in an attribute, or in a tensor of one element."""
    return value if isinstance(value, int) else int(value.item())
