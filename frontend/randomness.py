"""Randomness that tracing would lose: found by running the module, not by reading it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from qbnnc.frontend.tracing import at_least_two_rows, untouched
from qbnnc.ir.errors import CompileError, InputError

DROPOUTS = frozenset(
    "dropout dropout_ feature_dropout feature_dropout_ alpha_dropout alpha_dropout_ "
    "feature_alpha_dropout feature_alpha_dropout_ native_dropout".split()
)

NORMALS = frozenset("normal normal_ normal_functional randn randn_like".split())


def op_name(node: fx.Node) -> str:
    """The aten name without its overload ("conv2d"), or "" for what is no aten op."""
    if isinstance(node.target, torch._ops.OpOverload):
        return node.target._schema.name.removeprefix("aten::")
    return ""


def nodes(program: ExportedProgram) -> Iterator[fx.Node]:
    """Every node, those inside wrapped regions (torch.no_grad blocks) included."""
    for part in program.graph_module.modules():
        if isinstance(part, fx.GraphModule):
            yield from part.graph.nodes


def draws_noise(node: fx.Node) -> bool:
    """Whether the node draws random numbers as it stands: a dropout only where it is active."""
    if not is_seeded(node):
        return False
    switched_off = len(node.args) > 2 and node.args[2] is False
    return not (op_name(node) in DROPOUTS and switched_off)


def is_seeded(node: fx.Node) -> bool:
    """Whether torch marks the op as one that draws random numbers."""
    target = node.target
    return (
        isinstance(target, torch._ops.OpOverload)
        and torch.Tag.nondeterministic_seeded in target.tags
    )


_SAME = (0,) * 8
_OTHERS = tuple(range(1, 9))


@dataclass(frozen=True, slots=True)
class Runs:
    """The outputs of three runs on one example: torch's generator seeded alike, and differently."""

    first: list[Tensor]
    again: list[Tensor]
    other: list[Tensor]


def run_eagerly(module: nn.Module, example: Tensor) -> Runs:
    """The module as it is, before anything is traced; InputError if it fails on the example."""
    with _other_generators_kept():
        first = _run(module, example, 0)
        return Runs(first, *(_unlike(first, module, example, s) for s in (_SAME, _OTHERS)))


def _unlike(
    first: list[Tensor], module: nn.Module, example: Tensor, seeds: tuple[int, ...]
) -> list[Tensor]:
    """A run that differs from the first, if one of these does: noise may cancel by chance."""
    runs = (_run(module, example, seed) for seed in seeds)
    return next((run for run in runs if not _same(first, run)), first)


def check_noise_is_traced(module: nn.Module, runs: Runs, program: ExportedProgram) -> None:
    """CompileError if the module draws random numbers that `program` does not."""
    name = type(module).__name__
    if not _same(runs.first, runs.again):
        raise CompileError(
            "draws random numbers that torch.manual_seed does not govern (numpy, random, or a "
            "generator of its own), and tracing would freeze them; draw them with torch.rand, "
            "torch.randn or torch.bernoulli",
            name,
        )
    if not _same(runs.first, runs.other) and not any(map(draws_noise, nodes(program))):
        raise CompileError(
            "gives random outputs, but tracing froze the randomness; draw the random numbers as "
            "tensors inside forward (torch.rand, torch.randn, torch.bernoulli)",
            name,
        )


def _run(module: nn.Module, example: Tensor, seed: int) -> list[Tensor]:
    with untouched(module), torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            outputs = module(at_least_two_rows(example))
        except Exception as error:  # whatever the user's forward raises
            raise InputError(
                f"{type(module).__name__}: forward fails on the example inputs "
                f"{list(example.shape)} ({error}); pass inputs as the network takes them"
                f"{_channels_advice(example)}"
            ) from error
    return [leaf.clone() for leaf in pytree.tree_leaves(outputs) if isinstance(leaf, Tensor)]


def _channels_advice(example: Tensor) -> str:
    """For images that are [rows, height, width, 1 or 3]."""
    last = example.ndim == 4 and example.shape[3] in (1, 3) and example.shape[1] not in (1, 3)
    return ": channels come first, so x.transpose(0, 3, 1, 2)" * last


@contextmanager
def _other_generators_kept() -> Iterator[None]:
    """numpy's and Python's global generators end where they began."""
    ours, numpys = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(ours)
        np.random.set_state(numpys)


def _same(a: list[Tensor], b: list[Tensor]) -> bool:
    if len(a) != len(b):
        return False
    return all(torch.equal(x.nan_to_num(), y.nan_to_num()) for x, y in zip(a, b, strict=True))
