"""Calls of a module as it is: generators and state that tracing would lose are found here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from qbnnc.frontend.eager.repeated_rows import check_rows
from qbnnc.frontend.eager.state_dependence import Blame, blamed
from qbnnc.frontend.eager.watched_call import Watched, other_generators_kept, watched
from qbnnc.frontend.module.snapshot import Snapshot, is_generator, plain
from qbnnc.frontend.module.state_values import same_tensor
from qbnnc.frontend.module.unsupported_layers import check_layers
from qbnnc.frontend.module.wrappers import check_kind, check_tensors, not_compiled
from qbnnc.frontend.program.locations import user_line
from qbnnc.frontend.program.output_names import plain as as_plain
from qbnnc.frontend.program.random_ops import draws_noise, nodes
from qbnnc.support.errors import CompileError, InputError, Loc

CALLS = 8
_KEEP_NOTHING = (
    "compile the members as an ensemble (qbnnc.compile([member, ...], ...), or a list of "
    "state_dicts with `model`), or draw a mask or a member with torch.rand in every call, and take "
    "out what keeps a mask or a result for the next call"
)


@dataclass(frozen=True, slots=True)
class Run:
    """One call: its output tensors, and the record of what ran."""

    outputs: list[Tensor]
    seen: Watched


def run_eagerly(module: nn.Module, example: Tensor) -> list[Run]:
    """Run the module several times from the same state, each time with another seed.

    InputError: it fails on the example. CompileError: it draws from other generators than torch's
    global one, seeds that one, or keeps state between calls that changes its outputs.
    """
    check_kind(module)
    saved = Snapshot.of(module)
    with other_generators_kept(), not_compiled():
        try:
            runs = [_fresh(module, example, saved, seed) for seed in range(CALLS)]
            if lost := saved.lost(Snapshot.of(module)):
                _refuse_state(module, Blame(tuple(lost)))
            _check_used(module, runs[0].seen, layers=False)
            check_rows(module, len(example), runs[0].outputs, runs[0].seen)
            _check_generators(module, runs)
            in_turn, later = _in_turn(module, example)
            _check_generators(module, in_turn)
            _check_seeds(module, runs)
            _check_kept_generators(module, saved, later)
            _check_state(module, example, saved, runs, in_turn, later)
        finally:
            saved.restore()
    return runs


def _fresh(module: nn.Module, example: Tensor, saved: Snapshot, seed: int) -> Run:
    try:
        return call(module, example, seed)
    finally:
        saved.restore()


def _in_turn(module: nn.Module, example: Tensor) -> tuple[list[Run], list[Snapshot]]:
    """Calls in sequence, each from the state that the last one left, until one fails.

    Also the states after the first and after the last call: a counter may have come full circle.
    """
    runs, later = list[Run](), list[Snapshot]()
    for seed in range(CALLS):
        try:
            runs.append(call(module, example, seed))
        except InputError:
            break
        if seed in (0, CALLS - 1):
            later.append(Snapshot.of(module))
    return runs, later


def call(module: nn.Module, example: Tensor, seed: int) -> Run:
    """Call the module once with torch's generator seeded; InputError if it fails."""
    torch.manual_seed(seed)
    with watched() as seen, torch.no_grad():
        try:
            outputs = module(example.clone())  # forward may change it in place
        except Exception as error:  # whatever the user's forward raises
            _check_used(module, seen)
            raise InputError(
                f"forward fails on the example inputs {list(example.shape)} ({error})",
                place=Loc(type(module).__name__, user_line(error)),
                remedy=f"pass inputs as the network takes them{_channels_advice(example)}",
            ) from error
    leaves = pytree.tree_leaves(as_plain(outputs))
    return Run([leaf.clone() for leaf in leaves if isinstance(leaf, Tensor)], seen)


def _check_used(module: nn.Module, seen: Watched, *, layers: bool = True) -> None:
    """Raise CompileError for a fault of a layer: a better reason than torch's own message."""
    used = {module, *seen.called}
    check_tensors(module, used)
    if layers:
        check_layers(module, used)


def _channels_advice(example: Tensor) -> str:
    """Advice for images [rows, height, width, 1 or 3]; "" for other inputs."""
    last = example.ndim == 4 and example.shape[3] in (1, 3) and example.shape[1] not in (1, 3)
    return ": channels come first, so x.transpose(0, 3, 1, 2)" * last


def _check_generators(module: nn.Module, runs: Sequence[Run]) -> None:
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


def _check_seeds(module: nn.Module, runs: Sequence[Run]) -> None:
    """Raise CompileError if two runs with different seeds begin a draw in the same state."""
    for a, b in zip(runs[0].seen.draws, runs[1].seen.draws, strict=False):
        if a.before == b.before:
            _refuse_seeding(
                module, f"so that {a.op!r} gives the same numbers in every call: that is no noise"
            )


def _refuse_seeding(module: nn.Module, consequence: str) -> NoReturn:
    raise CompileError(
        "forward seeds torch's generator (torch.manual_seed, torch.seed, or a state "
        f"that it sets), {consequence}",
        type(module).__name__,
        remedy="take the seeding out of forward, or draw once in __init__ and keep the "
        "numbers with register_buffer if they are to be constant",
    )


def _check_kept_generators(module: nn.Module, saved: Snapshot, later: Sequence[Snapshot]) -> None:
    """Raise CompileError if a generator that the module keeps has been drawn from."""
    for name in (name for after in later for name in saved.changed(after)):
        if is_generator(name):
            raise CompileError(
                f"forward draws from the generator {plain(name)!r} of its own, which "
                "torch.manual_seed does not govern, and tracing would freeze what it decides",
                type(module).__name__,
                remedy="draw with torch.rand, torch.randn or torch.bernoulli without a generator",
            )


def _check_state(
    module: nn.Module,
    example: Tensor,
    saved: Snapshot,
    runs: list[Run],
    in_turn: list[Run],
    later: Sequence[Snapshot],
) -> None:
    """Raise CompileError if a call's output depends on the calls before it."""
    saved.restore()
    again = _fresh(module, example, saved, 0)
    if not same_outputs(runs[0].outputs, again.outputs):
        if _states(again) != _states(runs[0]):
            _refuse_seeding(module, "so that no seed gives its numbers again")
        _refuse_ungoverned(module)

    def differs(seed: int) -> bool:
        """Whether a call from the state of now differs from one from the state at first."""
        try:
            return not same_outputs(call(module, example, seed).outputs, runs[seed].outputs)
        except InputError:
            return False

    unlike = [
        seed
        for seed, run in enumerate(in_turn)
        if not same_outputs(run.outputs, runs[seed].outputs)
    ]
    if len(in_turn) < CALLS and not unlike:
        unlike = [len(in_turn)]
    blame = blamed(saved, later, differs, bool(unlike))
    if unlike or blame.names:
        _refuse_state(module, blame)


def _states(run: Run) -> list[int]:
    return [draw.before for draw in run.seen.draws]


def _refuse_ungoverned(module: nn.Module) -> NoReturn:
    raise CompileError(
        "gives other outputs when it is called again from the same state with the same "
        "seed: it draws random numbers that torch.manual_seed does not govern (numpy, "
        "random, the clock, a generator of its own), or keeps state outside the "
        "module, and tracing would freeze them",
        type(module).__name__,
        remedy="draw them with torch.rand, torch.randn or torch.bernoulli",
    )


def _refuse_state(module: nn.Module, blame: Blame) -> NoReturn:
    raise CompileError(
        f"forward keeps state between calls ({blame}), and what it computes depends on it: "
        "every call gives another network, and the compiled one would be one of them",
        type(module).__name__,
        remedy=_KEEP_NOTHING,
    )


def same_outputs(a: Sequence[Tensor], b: Sequence[Tensor]) -> bool:
    """Whether two calls gave equal tensors."""
    return len(a) == len(b) and all(map(same_tensor, a, b))


def check_noise_is_traced(module: nn.Module, runs: Sequence[Run], program: ExportedProgram) -> None:
    """Raise CompileError if the module draws random numbers that `program` does not draw."""
    first = runs[0].outputs
    random = not all(same_outputs(first, run.outputs) for run in runs)
    if random and not any(map(draws_noise, nodes(program))):
        raise CompileError(
            "gives random outputs, but tracing froze the randomness",
            type(module).__name__,
            remedy="draw the random numbers as tensors inside forward (torch.rand, torch.randn, "
            "torch.bernoulli)",
        )
