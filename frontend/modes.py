"""Whether dropout is active: what the module's modes say, and what the user says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, NoReturn, TypeAlias

from torch import Tensor, fx, nn
from torch.export import ExportedProgram
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.modules.instancenorm import _InstanceNorm

from qbnnc.frontend.convert.naming import location
from qbnnc.frontend.randomness import (
    DROPOUTS,
    NORMALS,
    check_noise_is_traced,
    draws_noise,
    nodes,
    op_name,
    run_eagerly,
)
from qbnnc.frontend.tracing import trace
from qbnnc.ir.errors import CompileError, Loc

Dropout: TypeAlias = Literal["active", "off"]


def trace_in_mode(module: nn.Module, example: Tensor, dropout: Dropout | None) -> ExportedProgram:
    """The program of `module` as its caller left it, dropout switched as `dropout` says.

    CompileError: batch norm in training mode; randomness that tracing loses; dropout that eval()
    switched off and no word about it; dropout="off" where a mask is written out by hand, or
    "active" where there is no dropout. InputError: the module fails on the example.
    """
    check_layers(module)
    check_batch_norm(module)
    runs = run_eagerly(module, example)
    program = trace(module, example)
    check_noise_is_traced(module, runs, program)
    silent = _silent_dropouts(module, program)
    if silent:
        with _training(list(silent.values())):
            awake = trace(module, example)
        woken = sorted(_noisy(awake) & set(silent))
        if woken and dropout is None:
            _ask(Loc(woken[0]))
        if woken and dropout == "active":
            program = awake
    set_dropout(program, dropout)
    return program


def check_layers(module: nn.Module) -> None:
    """CompileError for layers whose traced form would be told by its smallest parts only."""
    for name, child in module.named_modules():
        if isinstance(child, nn.RNNBase | nn.RNNCellBase):
            kind = "recurrent layers have"
        elif isinstance(child, nn.MultiheadAttention | nn.Transformer | nn.TransformerEncoderLayer):
            kind = "attention has"
        elif isinstance(child, nn.LayerNorm | nn.GroupNorm | _InstanceNorm | nn.Embedding):
            kind = "normalisation by row and embeddings have"
        else:
            continue
        layer = type(child).__name__
        raise CompileError(
            f"{layer}: {kind} no integer form here; linear layers, convolutions, batch norm, "
            "pooling and dropout compile",
            Loc(name or layer),
        )


def check_batch_norm(module: nn.Module) -> None:
    """CompileError if a batch norm would use the statistics of the batch."""
    for name, child in module.named_modules():
        if isinstance(child, _BatchNorm) and (child.training or child.running_mean is None):
            raise CompileError(
                "batch norm in training mode would mix the rows of a batch; call module.eval(), "
                "then .train() on the dropout layers alone (and do not set "
                "track_running_stats=False)",
                name or type(child).__name__,
            )


def set_dropout(program: ExportedProgram, dropout: Dropout | None) -> None:
    """Switch every dropout call of a program in training IR; see trace_in_mode for the errors."""
    calls = [node for node in nodes(program) if op_name(node) in DROPOUTS and _drops(node)]
    inactive = [node for node in calls if node.args[2] is False]
    if dropout is None:
        if inactive:
            _ask(location(inactive[0]))
        _check_alpha(program)
        return
    for node in calls:
        node.args = (*node.args[:2], dropout == "active", *node.args[3:])
    _check_alpha(program)
    _check_switched(program, dropout)


def _check_switched(program: ExportedProgram, dropout: Dropout) -> None:
    noisy = [node for node in nodes(program) if draws_noise(node) and not _samples_weights(node)]
    if dropout == "off" and noisy:
        raise CompileError(
            f"{op_name(noisy[0])!r} is random and no dropout call, so dropout='off' cannot switch "
            "it off; leave the option out, or remove the layer",
            location(noisy[0]),
        )
    if dropout == "active" and not noisy:
        raise CompileError(
            "dropout='active', but the network has no dropout; leave the option out", "network"
        )


def _samples_weights(node: fx.Node) -> bool:
    """Gaussian noise, and the random signs of Flipout: dropout has neither."""
    only_signs = bool(node.users) and all(op_name(u).startswith("sign") for u in node.users)
    return op_name(node) in NORMALS or only_signs


def _check_alpha(program: ExportedProgram) -> None:
    for node in nodes(program):
        if "alpha_dropout" in op_name(node) and draws_noise(node) and _drops(node):
            raise CompileError(
                "alpha dropout is not supported, as it adds noise; use nn.Dropout", location(node)
            )


def _drops(node: fx.Node) -> bool:
    """Whether it would drop something if it were active; p may be no number."""
    return len(node.args) > 2 and bool(node.args[1] != 0)


def _ask(loc: Loc) -> NoReturn:
    raise CompileError(
        "the network has dropout here, but it is switched off (eval() does that), so nothing "
        "would be random; say --dropout active for Monte-Carlo dropout, or --dropout off for a "
        "deterministic network (in Python dropout='active' or 'off', or call .train() on the "
        "dropout layers)",
        loc,
    )


def _silent_dropouts(module: nn.Module, program: ExportedProgram) -> dict[str, nn.Module]:
    """Dropout layers of the user's own that, in eval mode, leave no trace in the program.

    `if not self.training: return x` is not to be seen in the program, only the class's name is.
    """
    seen = _noisy(program)
    return {
        name: child
        for name, child in module.named_modules()
        if "drop" in type(child).__name__.lower() and not isinstance(child, _DropoutNd)
        if name and not child.training and name not in seen
    }


def _noisy(program: ExportedProgram) -> set[str]:
    """Paths of the modules with a dropout call or other noise in them."""
    calls = (n for n in nodes(program) if draws_noise(n) or op_name(n) in DROPOUTS)
    stacks = (node.meta.get("nn_module_stack") or {} for node in calls)
    return {entry[0] for stack in stacks for entry in stack.values()}


@contextmanager
def _training(modules: list[nn.Module]) -> Iterator[None]:
    before = [child.training for child in modules]
    for child in modules:
        child.training = True
    try:
        yield
    finally:
        for child, training in zip(modules, before, strict=True):
            child.training = training
