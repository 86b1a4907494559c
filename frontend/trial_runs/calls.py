"""Calls of a module as it is: the outputs, and the record of what ran."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from qbnnc.frontend.module.several_inputs import shown_example
from qbnnc.frontend.module.snapshot import Snapshot
from qbnnc.frontend.module.state_values import same_tensor
from qbnnc.frontend.module.unsupported_modules import check_layers, check_tensors
from qbnnc.frontend.program.locations import user_line
from qbnnc.frontend.program.output_names import plain as as_plain
from qbnnc.frontend.trial_runs.watched_call import Watched, watched
from qbnnc.support.errors import InputError, Loc

CALLS = 8  # of the module in one check


@dataclass(frozen=True, slots=True)
class Run:
    """One call: its output tensors, and the record of what ran."""

    outputs: list[Tensor]
    seen: Watched


def call(module: nn.Module, example: Tensor, seed: int) -> Run:
    """Call the module once with torch's generator seeded; InputError if it fails."""
    torch.manual_seed(seed)
    with watched() as seen, torch.no_grad():
        try:
            outputs = module(example.clone())  # forward may change it in place
        except Exception as error:  # whatever the user's forward raises
            check_used(module, seen)
            raise InputError(
                f"forward fails on the example inputs {shown_example(module, example)} ({error})",
                place=Loc(type(module).__name__, user_line(error)),
                remedy=f"pass inputs as the network takes them{_channels_advice(example)}",
            ) from error
    leaves = pytree.tree_leaves(as_plain(outputs))
    return Run([leaf.clone() for leaf in leaves if isinstance(leaf, Tensor)], seen)


def check_used(module: nn.Module, seen: Watched, *, layers: bool = True) -> None:
    """Raise CompileError for a fault of a layer: a better reason than torch's own message."""
    used = {module, *seen.called}
    check_tensors(module, used)
    if layers:
        check_layers(module, used)


def _channels_advice(example: Tensor) -> str:
    """Advice for images [rows, height, width, 1 or 3]; "" for other inputs."""
    last = example.ndim == 4 and example.shape[3] in (1, 3) and example.shape[1] not in (1, 3)
    return ": channels come first, so x.transpose(0, 3, 1, 2)" * last


def called_from(module: nn.Module, example: Tensor, saved: Snapshot, seed: int) -> Run:
    try:
        return call(module, example, seed)
    finally:
        saved.restore()


def same_outputs(a: Sequence[Tensor], b: Sequence[Tensor]) -> bool:
    """Whether two calls gave equal tensors."""
    return len(a) == len(b) and all(map(same_tensor, a, b))
