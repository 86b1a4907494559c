"""Checks of random generators: the module draws from torch's global one, and does not seed it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from torch import nn

from qbnnc.frontend.module.snapshot import Snapshot, is_generator, plain
from qbnnc.frontend.trial_runs.calls import Run
from qbnnc.support.errors import CompileError


def check_generators(module: nn.Module, runs: Sequence[Run]) -> None:
    name = type(module).__name__
    if foreign := sorted({each for run in runs for each in run.seen.foreign}):
        raise CompileError(
            f"forward uses random numbers of {' and '.join(foreign)}, which "
            "torch.manual_seed does not govern, and tracing would freeze what they decide",
            name,
            remedy="draw them as tensors with torch.rand, torch.randn or torch.bernoulli",
        )
    if own := [draw for run in runs for draw in run.seen.draws if draw.own]:
        raise CompileError(
            f"{own[0].op!r} draws from a generator of its own, which torch.manual_seed does "
            "not govern, so that its numbers are a fixed sequence",
            name,
            remedy="leave generator= out, or draw once in __init__ and keep the numbers with "
            "register_buffer if they are to be constant",
        )


def check_seeds(module: nn.Module, runs: Sequence[Run]) -> None:
    """Raise CompileError if two runs with different seeds begin a draw in the same state."""
    for a, b in zip(runs[0].seen.draws, runs[1].seen.draws, strict=False):
        if a.before == b.before:
            seeding_not_supported(
                module, f"so that {a.op!r} gives the same numbers in every call: that is no noise"
            )


def seeding_not_supported(module: nn.Module, consequence: str) -> NoReturn:
    raise CompileError(
        "forward seeds torch's generator (torch.manual_seed, torch.seed, or a state "
        f"that it sets), {consequence}",
        type(module).__name__,
        remedy="take the seeding out of forward, or draw once in __init__ and keep the "
        "numbers with register_buffer if they are to be constant",
    )


def check_kept_generators(module: nn.Module, saved: Snapshot, later: Sequence[Snapshot]) -> None:
    """Raise CompileError if a generator that the module keeps has been drawn from."""
    for name in (name for after in later for name in saved.changed(after)):
        if is_generator(name):
            raise CompileError(
                f"forward draws from the generator {plain(name)!r} of its own, which "
                "torch.manual_seed does not govern, and tracing would freeze what it decides",
                type(module).__name__,
                remedy="draw with torch.rand, torch.randn or torch.bernoulli without a generator",
            )


def ungoverned_not_supported(module: nn.Module) -> NoReturn:
    raise CompileError(
        "gives other outputs when it is called again from the same state with the same "
        "seed: it draws random numbers that torch.manual_seed does not govern (numpy, "
        "random, the clock, a generator of its own), or keeps state outside the "
        "module, and tracing would freeze them",
        type(module).__name__,
        remedy="draw them with torch.rand, torch.randn or torch.bernoulli",
    )
