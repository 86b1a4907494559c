"""Noise that eval() has switched off, found by tracing the module in training mode also."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from qbnnc.frontend.module.snapshot import untouched
from qbnnc.frontend.module.training_mode import is_normalisation, training_mode
from qbnnc.frontend.program.locations import location
from qbnnc.frontend.program.nodes import live
from qbnnc.frontend.program.predictions import predicted
from qbnnc.frontend.program.random_ops import (
    DROPOUTS,
    RANDOM_SLOPES,
    draws_noise,
    drops,
    nodes,
    op_name,
)
from qbnnc.frontend.trace.export import trace
from qbnnc.frontend.trial_runs.calls import call, same_outputs
from qbnnc.frontend.trial_runs.watched_call import other_generators_kept
from qbnnc.support.errors import CompileError, Loc, UserError

# Ops that a mask written by hand needs beside the noise. They may be in one mode alone.
_HARMLESS = frozenset(
    "mul mul_ div div_ add add_ sub sub_ rsub to _to_copy clone detach detach_ alias empty "
    "empty_like zeros zeros_like ones ones_like full full_like new_empty new_ones new_zeros "
    "new_full expand expand_as view reshape unsqueeze where masked_fill masked_fill_ gt ge lt le "
    "eq ne bernoulli_ normal_ uniform_ floor logical_not bitwise_not sym_size contiguous "
    "_assert_tensor_metadata".split()
)
_RTOL = 1e-4
OpPlace = tuple[str, str]  # a module's path, and an op's name


@dataclass(frozen=True, slots=True)
class SwitchedOff:
    """Noise that is switched off at `place`, None if there is none.

    `error` tells why the module cannot be traced in training mode.
    """

    place: Loc | None
    error: UserError | None


def switched_off_noise(module: nn.Module, example: Tensor, in_eval: ExportedProgram) -> SwitchedOff:
    """Find noise that train() on all but the normalisation layers would add to the program."""
    off = [n for n in nodes(in_eval) if op_name(n) in DROPOUTS and drops(n) and n.args[2] is False]
    place = location(off[0]) if off else None
    if all(child.training or is_normalisation(child) for child in module.modules()):
        return SwitchedOff(place, None)
    try:
        with training_mode(module, "active"):
            in_training = trace(module, example)
    except CompileError as error:
        return _not_traced(module, example, in_eval, place, error)
    added = _added_noise(in_eval, in_training)
    return SwitchedOff(place or added, None)


def _added_noise(in_eval: ExportedProgram, in_training: ExportedProgram) -> Loc | None:
    """The place of noise that the second program has and the first has not."""
    try:
        before, after = _noise(in_eval), _noise(in_training)
    except UserError:  # it cannot be converted; what is wrong is said there
        return None
    more = Counter(map(_place, after)) - Counter(map(_place, before))
    added = (location(node) for node in after if _place(node) in more)
    return next(added, None)


def _not_traced(
    module: nn.Module,
    example: Tensor,
    in_eval: ExportedProgram,
    place: Loc | None,
    error: UserError,
) -> SwitchedOff:
    """Find noise of a module that cannot be traced in training mode, by running it there.

    If forward itself fails (because it takes targets, say), only the innermost layers are switched.
    """
    with training_mode(module, "active"), untouched(module), other_generators_kept():
        try:
            runs = [call(module, example, seed).outputs for seed in range(4)]
            if not all(same_outputs(runs[0], run) for run in runs):
                return SwitchedOff(place or Loc(type(module).__name__), error)
            return SwitchedOff(place, error)
        except UserError as failure:
            error = failure
    try:
        with training_mode(module, "active", innermost=True):
            return SwitchedOff(place or _added_noise(in_eval, trace(module, example)), error)
    except CompileError:
        return SwitchedOff(place, error)


def _noise(program: ExportedProgram) -> list[fx.Node]:
    """The nodes that draw noise, and reach an output."""
    outputs = predicted(program)
    in_place = [n for n in nodes(program) if draws_noise(n) and op_name(n).endswith("_")]
    needed = {*live(program, outputs), *in_place}
    dropped = (n for n in nodes(program) if draws_noise(n) and n in needed)
    return [n for n in dropped if op_name(n) not in DROPOUTS or drops(n)]


def _place(node: fx.Node) -> OpPlace:
    return location(node).module, op_name(node).strip("_")


def check_only_noise_is_added(
    module: nn.Module, example: Tensor, in_eval: ExportedProgram, in_training: ExportedProgram
) -> None:
    """Raise CompileError if training mode changes more of the network than its noise.

    Two things are compared: the ops of both programs without those that belong to noise, and the
    outputs of both with every dropout off, if there is no other noise.
    """
    before, after = _returned(in_eval), _returned(in_training)
    if before != after:
        _more_than_noise(
            f"forward returns {after} in training mode and {before} in eval mode", module
        )
    ours, theirs = _ops(in_eval, {}), _ops(in_training, _with_noise(in_training))
    noisy = {
        path
        for path, _ in map(_place, _noise(in_training))
        if not _only_dropouts(in_training, path)
    }
    for path, op in [*(theirs - ours), *(ours - theirs)]:
        if path not in noisy:
            mode = "training" if (path, op) in theirs - ours else "eval"
            _more_than_noise(f"{op.strip('_')!r} is computed in {mode} mode only", module, path)
    if all(op_name(node) in DROPOUTS for node in _noise(in_training)):
        _check_values(module, example, in_eval, in_training)


def _only_dropouts(program: ExportedProgram, path: str) -> bool:
    noise = (node for node in _noise(program) if _place(node)[0] == path)
    return all(op_name(node) in DROPOUTS for node in noise)


def _returned(program: ExportedProgram) -> str:
    """The shapes of the outputs, for one row."""
    outputs = predicted(program)
    shapes = [list(node.meta["val"].shape[1:]) for node in outputs]
    return " and ".join(map(str, shapes))


def _with_noise(program: ExportedProgram) -> Mapping[fx.Node, bool]:
    """Tell for each node whether it is computed from noise alone."""
    alone = dict[fx.Node, bool]()
    for node in program.graph.nodes:
        inputs = [i for i in node.all_input_nodes if i.op != "placeholder"]
        drawn = draws_noise(node) and op_name(node) not in DROPOUTS | RANDOM_SLOPES
        alone[node] = drawn or (bool(inputs) and all(alone.get(i, False) for i in inputs))
    return alone


def _ops(program: ExportedProgram, left_out: Mapping[fx.Node, bool]) -> Counter[OpPlace]:
    """Count the ops that the outputs need, by module, without those that belong to noise."""
    needed = live(program, predicted(program))
    names = (n for n in needed if op_name(n) and not left_out.get(n) and not draws_noise(n))
    skipped = _HARMLESS | DROPOUTS | RANDOM_SLOPES | {"leaky_relu"}
    return Counter(_place(node) for node in names if op_name(node) not in skipped)


def _check_values(
    module: nn.Module, example: Tensor, in_eval: ExportedProgram, in_training: ExportedProgram
) -> None:
    """Compare the outputs of both programs with every dropout off."""
    ours, theirs = (_without_dropout(program, example) for program in (in_eval, in_training))
    for a, b in zip(ours, theirs, strict=True):
        largest = float(a.abs().nan_to_num(0.0, 0.0, 0.0).max())
        if not torch.allclose(a, b, rtol=_RTOL, atol=_RTOL * largest, equal_nan=True):
            _more_than_noise(
                "without dropout, its outputs differ in training mode and in eval mode", module
            )


def _without_dropout(program: ExportedProgram, example: Tensor) -> list[Tensor]:
    calls = [node for node in nodes(program) if op_name(node) in DROPOUTS]
    before = [node.args for node in calls]
    try:
        for node in calls:
            node.args = (*node.args[:2], False, *node.args[3:])
        with torch.no_grad():
            outputs = program.module(check_guards=False)(example)
    finally:
        for node, args in zip(calls, before, strict=True):
            node.args = args
    return [leaf for leaf in pytree.tree_leaves(outputs) if isinstance(leaf, Tensor)]


def _more_than_noise(message: str, module: nn.Module, path: str = "") -> NoReturn:
    raise CompileError(
        "dropout='active' means train() on every module but normalisation layers, and "
        f"that changes more than the noise: {message}",
        Loc(path or type(module).__name__),
        remedy="call .train() on the modules alone whose noise is meant, and leave the option out",
    )
