"""Dropout, active or off: by the module's modes, and by the user's choice."""

from __future__ import annotations

from typing import NoReturn

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram
from torch.nn.modules.batchnorm import _BatchNorm

from qbnnc.frontend.module.training_mode import Dropout, training_mode
from qbnnc.frontend.module.unsupported_modules import check_layers, check_program_layers
from qbnnc.frontend.program.locations import location
from qbnnc.frontend.program.nodes import batch_of, is_batch, the_input
from qbnnc.frontend.program.random_ops import DROPOUTS, NORMALS, draws_noise, drops, nodes, op_name
from qbnnc.frontend.trace.export import at_least_two_rows, trace
from qbnnc.frontend.trace.switched_off_noise import (
    SwitchedOff,
    check_only_noise_is_added,
    switched_off_noise,
)
from qbnnc.frontend.trial_runs.calls import Run
from qbnnc.frontend.trial_runs.run_eagerly import check_noise_is_traced, run_eagerly
from qbnnc.support.errors import CompileError, Loc

__all__ = ["Dropout", "check_batch_norm", "set_dropout", "trace_in_mode"]


def trace_in_mode(module: nn.Module, example: Tensor, dropout: Dropout | None) -> ExportedProgram:
    """The program of `module` in the modes that its caller left, with dropout switched.

    `dropout` "active" means train() on every module but the normalisation layers. InputError: the
    module fails on the example. CompileError:
    - batch norm is in training mode; tracing loses randomness; state is kept between calls;
    - eval() has switched noise off, and `dropout` is None;
    - dropout="off", and a mask is written out by hand;
    - dropout="active", but there is no noise, or training mode changes more than the noise.
    """
    check_batch_norm(module)
    example = at_least_two_rows(example)
    program = _traced(module, example)
    off = (
        SwitchedOff(None, None)
        if dropout == "off"
        else switched_off_noise(module, example, program)
    )
    if off.place is not None:
        if dropout is None:
            _ask(off.place)
        program = _with_noise_on(module, example, program, off)
    if dropout == "active" and (off.place is None or not any(map(draws_noise, nodes(program)))):
        _check_switched(program, dropout)
    if dropout != "active":
        set_dropout(program, dropout)
    _check_alpha(program)
    return program


def _traced(module: nn.Module, example: Tensor) -> ExportedProgram:
    """Run the module, and trace it, in the modes that it is in."""
    runs = run_eagerly(module, example)
    program = _traced_or_why_not(module, example, runs)
    check_noise_is_traced(module, runs, program)
    check_program_layers(module, program)
    return program


def _traced_or_why_not(module: nn.Module, example: Tensor, runs: list[Run]) -> ExportedProgram:
    """Trace the module; a layer that is not supported is a better reason than torch's message."""
    try:
        return trace(module, example)
    except CompileError:
        check_layers(module, set(runs[0].seen.called))
        raise


def _with_noise_on(
    module: nn.Module, example: Tensor, in_eval: ExportedProgram, off: SwitchedOff
) -> ExportedProgram:
    if off.error is not None:
        raise CompileError(
            "dropout='active' means train() on every module but normalisation layers, and "
            f"then forward cannot be compiled ({off.error})",
            off.place or Loc(type(module).__name__),
            remedy="call .train() on the modules alone whose noise is meant, and leave the option "
            "out",
        )
    with training_mode(module, "active"):
        program = _traced(module, example)
    check_only_noise_is_added(module, example, in_eval, program)
    return program


def check_batch_norm(module: nn.Module) -> None:
    """Raise CompileError if a batch norm would use the statistics of the batch."""
    for name, child in module.named_modules():
        if not isinstance(child, _BatchNorm):
            continue
        if child.running_mean is None and not child.training:
            raise CompileError(
                "batch norm without running statistics takes those of the batch in eval(), "
                "too, so that a row's prediction would depend on the other rows",
                name or type(child).__name__,
                remedy="train it with track_running_stats=True, or use a normalisation that keeps "
                "statistics",
            )
        if child.training:
            raise CompileError(
                "batch norm in training mode would mix the rows of a batch",
                name or type(child).__name__,
                remedy="call module.eval(), then .train() on the dropout layers alone",
            )


def set_dropout(program: ExportedProgram, dropout: Dropout | None, *, ask: bool = True) -> None:
    """Switch every dropout call of a program in training IR; see trace_in_mode for the errors.

    `ask=False` means that the user has already decided on calls that are switched off.
    """
    calls = [node for node in nodes(program) if op_name(node) in DROPOUTS and drops(node)]
    inactive = [node for node in calls if node.args[2] is False]
    if dropout is None:
        if inactive and ask:
            _ask(location(inactive[0]))
        _check_alpha(program)
        return
    for node in calls:
        node.args = (*node.args[:2], dropout == "active", *node.args[3:])
    _check_alpha(program)
    _check_switched(program, dropout)


def _check_switched(program: ExportedProgram, dropout: Dropout) -> None:
    batch = batch_of(the_input(program))
    drawing = (node for node in nodes(program) if draws_noise(node))
    noisy = [node for node in drawing if not _samples_weights(node, batch)]
    if dropout == "off" and noisy:
        raise CompileError(
            f"{op_name(noisy[0])!r} is random and no dropout call, so dropout='off' cannot "
            "switch it off",
            location(noisy[0]),
            remedy="leave the option out, or remove the layer",
        )
    if dropout == "active" and not noisy:
        raise CompileError(
            "dropout='active', but the network has no noise",
            "network",
            remedy="leave the option out",
        )


def _samples_weights(node: fx.Node, batch: int | torch.SymInt) -> bool:
    """Whether the node is Gaussian noise of weights or random signs of Flipout."""
    only_signs = bool(node.users) and all(op_name(u).startswith("sign") for u in node.users)
    shape = node.meta["val"].shape
    by_row = len(shape) > 0 and is_batch(shape[0], batch)
    return only_signs or (op_name(node) in NORMALS and not by_row)


def _check_alpha(program: ExportedProgram) -> None:
    for node in nodes(program):
        if "alpha_dropout" in op_name(node) and draws_noise(node) and drops(node):
            raise CompileError(
                "alpha dropout is not supported, as it adds noise",
                location(node),
                remedy="use nn.Dropout",
            )


def _ask(loc: Loc) -> NoReturn:
    raise CompileError(
        "the network has dropout or other noise here, but it is switched off (eval() "
        "does that), so it would not be random",
        loc,
        remedy="say `dropout='active'` to keep it (Monte-Carlo dropout), or `dropout='off'` "
        "for the network without it (or call .train() on the dropout layers; put "
        "nn.Identity() in place of what is for training only)",
    )
