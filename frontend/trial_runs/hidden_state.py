"""The check for hidden state: a call must not depend on the calls before it.

If it does, parts of the state are put back one by one, to name those that matter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn, cast

from torch import Tensor, nn

from qbnnc.frontend.module.snapshot import Snapshot, outermost
from qbnnc.frontend.trial_runs.calls import CALLS, Run, call, called_from, same_outputs
from qbnnc.frontend.trial_runs.generators import seeding_not_supported, ungoverned_not_supported
from qbnnc.support.errors import CompileError, InputError

_KEEP_NOTHING = (
    "compile the members as an ensemble (qbnnc.compile([member, ...], ...), or a list of "
    "state_dicts with `model`), or draw a mask or a member with torch.rand in every call, and take "
    "out what keeps a mask or a result for the next call"
)
_STEPS = (1, 2, 3, 16, 64, 100, 128, 1000, 1024, 10_000)  # a counter may be divided before use
_MOST_TRIED = 16
_SHOWN = 4


@dataclass(frozen=True, slots=True)
class StateNames:
    """The attributes, buffers and variables that forward changes, and on which it depends."""

    names: tuple[str, ...]

    def __str__(self) -> str:
        known = [name if "." in name or " " in name else f"self.{name}" for name in self.names]
        shown = ", ".join(known[:_SHOWN]) or "in an iterator or outside the module"
        return shown + f" and {len(self.names) - _SHOWN} more" * (len(self.names) > _SHOWN)


def state_that_matters(
    saved: Snapshot, later: Sequence[Snapshot], differs: Callable[[int], bool], known: bool
) -> StateNames:
    """The places that `later` states have changed, and after which a call `differs`.

    Places are tried one at a time, and changed counters at larger numbers also. If it is `known`
    that the state matters but no single place does, the result is all changed places. `saved` is
    put back.
    """
    changed = [(name, after) for after in later for name in saved.changed(after)]
    matters = list[str]()
    for name, after in changed[:_MOST_TRIED]:
        after.restore([name])
        found = differs(0) or differs(1)
        saved.restore()
        if found or (not known and _matters(saved, name, differs)):
            matters.append(name)
    return StateNames(tuple(outermost(matters or ([name for name, _ in changed] if known else []))))


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


def check_state(
    module: nn.Module,
    example: Tensor,
    saved: Snapshot,
    runs: list[Run],
    in_sequence: list[Run],
    later: Sequence[Snapshot],
) -> None:
    """Raise CompileError if a call's output depends on the calls before it."""
    saved.restore()
    again = called_from(module, example, saved, 0)
    if not same_outputs(runs[0].outputs, again.outputs):
        if _states(again) != _states(runs[0]):
            seeding_not_supported(module, "so that no seed gives its numbers again")
        ungoverned_not_supported(module)

    def differs(seed: int) -> bool:
        """Whether a call from the state of now differs from one from the state at first."""
        try:
            return not same_outputs(call(module, example, seed).outputs, runs[seed].outputs)
        except InputError:
            return False

    unlike = [
        seed
        for seed, run in enumerate(in_sequence)
        if not same_outputs(run.outputs, runs[seed].outputs)
    ]
    if len(in_sequence) < CALLS and not unlike:
        unlike = [len(in_sequence)]
    state = state_that_matters(saved, later, differs, bool(unlike))
    if unlike or state.names:
        state_not_supported(module, state)


def _states(run: Run) -> list[int]:
    return [draw.before for draw in run.seen.draws]


def state_not_supported(module: nn.Module, state: StateNames) -> NoReturn:
    raise CompileError(
        f"forward keeps state between calls ({state}), and what it computes depends on it: "
        "every call gives another network, and the compiled one would be one of them",
        type(module).__name__,
        remedy=_KEEP_NOTHING,
    )
