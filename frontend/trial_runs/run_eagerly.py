"""Runs of a module before tracing, to find generators and state that tracing would lose."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.export import ExportedProgram

from qbnnc.frontend.module.snapshot import Snapshot
from qbnnc.frontend.module.unsupported_modules import check_kind
from qbnnc.frontend.module.wrappers import not_compiled
from qbnnc.frontend.program.random_ops import draws_noise, nodes
from qbnnc.frontend.trial_runs.calls import CALLS, Run, call, called_from, check_used, same_outputs
from qbnnc.frontend.trial_runs.generators import (
    check_generators,
    check_kept_generators,
    check_seeds,
)
from qbnnc.frontend.trial_runs.hidden_state import StateNames, check_state, state_not_supported
from qbnnc.frontend.trial_runs.repeated_rows import check_rows
from qbnnc.frontend.trial_runs.watched_call import other_generators_kept
from qbnnc.support.errors import CompileError, InputError


def run_eagerly(module: nn.Module, example: Tensor) -> list[Run]:
    """Run the module several times from the same state, each time with another seed.

    InputError: it fails on the example. CompileError: it draws from other generators than torch's
    global one, seeds that one, or keeps state between calls that changes its outputs.
    """
    check_kind(module)
    saved = Snapshot.of(module)
    with other_generators_kept(), not_compiled():
        try:
            runs = [called_from(module, example, saved, seed) for seed in range(CALLS)]
            if lost := saved.lost(Snapshot.of(module)):
                state_not_supported(module, StateNames(tuple(lost)))
            check_used(module, runs[0].seen, layers=False)
            check_rows(module, len(example), runs[0].outputs, runs[0].seen)
            check_generators(module, runs)
            in_sequence, later = _in_sequence(module, example)
            check_generators(module, in_sequence)
            check_seeds(module, runs)
            check_kept_generators(module, saved, later)
            check_state(module, example, saved, runs, in_sequence, later)
        finally:
            saved.restore()
    return runs


def _in_sequence(module: nn.Module, example: Tensor) -> tuple[list[Run], list[Snapshot]]:
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
