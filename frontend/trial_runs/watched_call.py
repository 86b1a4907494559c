"""The record of a call: its draws, the generators it uses, and the layers it calls."""

from __future__ import annotations

import random
import secrets
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

from qbnnc.frontend.program.locations import is_torch_file
from qbnnc.frontend.torch_modes import Arguments, Keywords, RandomOpMode

_ABOUT_OUR_HOOK = r"Using `torch.compile\(module\)` when there are global hooks"
_UNSEEDED = "an unseeded generator (numpy's default_rng(), secrets or os.urandom)"
_PYTHONS_OWN = (random.__file__, secrets.__file__)


@dataclass(frozen=True, slots=True)
class Draw:
    """An op that drew random numbers; `before` is a hash of the generator's state at that time.

    `own` means that the generator is not torch's global one.
    """

    op: str
    before: int
    own: bool


@dataclass(slots=True)
class Watched:
    """A record; `foreign` names used generators outside torch, `called` lists layers in order."""

    draws: list[Draw] = field(default_factory=list)
    foreign: set[str] = field(default_factory=set)
    called: list[nn.Module] = field(default_factory=list)


@contextmanager
def watched() -> Iterator[Watched]:
    """Record all that runs in the block, without changing any of it."""
    seen = Watched()
    numpys, profile = _numpy_state(), sys.getprofile()
    hook = register_module_forward_pre_hook(lambda module, _: seen.called.append(module))
    try:
        with _Draws(seen.draws), warnings.catch_warnings():
            warnings.filterwarnings("ignore", _ABOUT_OUR_HOOK)
            sys.setprofile(_profile(seen.foreign))
            try:
                yield seen
            finally:
                sys.setprofile(profile)
    finally:
        hook.remove()
    if _numpy_state() != numpys:
        seen.foreign.add("numpy.random")


class _Draws(RandomOpMode):
    """Notes every op that draws, and lets it draw."""

    supports_higher_order_operators = True  # the converter rejects them, and tells the place

    def __init__(self, draws: list[Draw]) -> None:
        super().__init__()
        self._draws = draws

    def drawn(self, op: torch._ops.OpOverload, args: Arguments, kwargs: Keywords) -> object:
        self._draws.append(_draw(op, (*args, *kwargs.values())))
        return op(*args, **kwargs)


def _draw(op: torch._ops.OpOverload, values: Sequence[object]) -> Draw:
    ours = _hash(torch.default_generator.get_state())
    theirs = (v for v in values if isinstance(v, torch.Generator))
    own = any(_hash(generator.get_state()) != ours for generator in theirs)
    return Draw(op._schema.name.removeprefix("aten::").strip("_"), ours, own)


def _hash(state: Tensor) -> int:
    return hash(state.numpy().tobytes())


def _numpy_state() -> tuple[bytes, int]:
    state = np.random.get_state(legacy=False)
    inner = state["state"]
    return np.asarray(inner.get("key", 0)).tobytes(), int(inner.get("pos", 0))


def _profile(foreign: set[str]) -> Callable[[FrameType, str, object], None]:
    """A profiler that notes calls of the methods of Python's generators, which torch cannot see."""

    def note(frame: FrameType, event: str, argument: object) -> None:
        if event == "c_call":
            name, owner = getattr(argument, "__name__", ""), getattr(argument, "__self__", None)
            used = isinstance(owner, random.Random) and name not in ("getstate", "setstate")
            if (used or name == "urandom") and _by_user(frame):
                foreign.add("Python's random" if used else _UNSEEDED)

    return note


def _by_user(frame: FrameType) -> bool:
    """Whether a call is the user's: neither part of an import nor torch's own."""
    callers = list[str]()
    each: FrameType | None = frame
    while each is not None:
        callers.append(each.f_code.co_filename)
        each = each.f_back
    first = next((name for name in callers if name not in _PYTHONS_OWN), "")
    imported = any(name.startswith("<frozen importlib") for name in callers)
    return not imported and not is_torch_file(first)


@contextmanager
def other_generators_kept() -> Iterator[None]:
    """Restore the global generators of torch, numpy and Python after the block."""
    ours, numpys = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(ours)
        np.random.set_state(numpys)
