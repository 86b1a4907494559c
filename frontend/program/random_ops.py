"""The ops of a traced program that draw random numbers."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import fx
from torch.export import ExportedProgram

from qbnnc.frontend.torch_modes import draws

DROPOUTS = frozenset(
    "dropout dropout_ feature_dropout feature_dropout_ alpha_dropout alpha_dropout_ "
    "feature_alpha_dropout feature_alpha_dropout_ native_dropout".split()
)

# torch marks these as random for the dropout between layers, which tracing makes ops of their own.
RECURRENT = frozenset("lstm gru rnn_tanh rnn_relu".split())

RANDOM_SLOPES = frozenset("rrelu rrelu_".split())

NORMALS = frozenset("normal normal_ normal_functional randn randn_like".split())


def op_name(node: fx.Node) -> str:
    """The aten name without its overload, such as "conv2d"; "" if the node is no aten op."""
    if isinstance(node.target, torch._ops.OpOverload):
        return node.target._schema.name.removeprefix("aten::")
    return ""


def nodes(program: ExportedProgram) -> Iterator[fx.Node]:
    """Iterate over every node, those in wrapped regions (torch.no_grad blocks) included."""
    for part in program.graph_module.modules():
        if isinstance(part, fx.GraphModule):
            yield from part.graph.nodes


def draws_noise(node: fx.Node) -> bool:
    """Whether the node draws random numbers as it stands; a dropout does if it is active."""
    if not is_seeded(node):
        return False
    if op_name(node) in RANDOM_SLOPES:
        return len(node.args) > 3 and node.args[3] is True
    switched_off = len(node.args) > 2 and node.args[2] is False
    return not (op_name(node) in DROPOUTS and switched_off)


def is_seeded(node: fx.Node) -> bool:
    """Whether torch marks the op as one that draws random numbers, and it may do so."""
    if op_name(node) in RECURRENT:
        return False
    return isinstance(node.target, torch._ops.OpOverload) and draws(node.target)


def drops(node: fx.Node) -> bool:
    """Whether a dropout would drop something if it were active; its p may be no number."""
    return len(node.args) > 2 and bool(node.args[1] != 0)
