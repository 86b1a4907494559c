"""The nodes of an exported program: its input, what is live, and the tensors that it stores."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping

import torch
from torch import Tensor, fx
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind

from qbnnc.frontend.program.random_ops import op_name
from qbnnc.support.errors import CompileError, InputError

_DRAWN_INTO = frozenset("normal_functional rand_like randn_like uniform".split())
_COPIES = frozenset("alias clone detach lift_fresh_copy view".split())
_ONLY_SHAPES = ("_like", "sym_size", "new_empty", "new_full", "new_ones", "new_zeros")


def the_input(program: ExportedProgram) -> fx.Node:
    """The tensor that the program is a function of, or the first one; see `the_inputs`."""
    return the_inputs(program)[0]


def the_inputs(program: ExportedProgram) -> list[fx.Node]:
    """The tensors that the program is a function of, each [batch, ...]; InputError for others."""
    names = program.graph_signature.user_inputs
    tensors = [n for n in program.graph.find_nodes(op="placeholder") if n.name in names]
    if len(tensors) != len(names) or not tensors:
        raise InputError(
            "the network takes something else than tensors",
            place=", ".join(map(repr, names)) or "none",
            remedy="set it in __init__, or give forward a default for it",
        )
    for node in tensors:
        if not isinstance(node.meta.get("val"), Tensor) or not node.meta["val"].ndim:
            raise InputError("the input must be a tensor [batch, ...]", place=node.name)
        if not is_batch(batch_of(node), batch_of(tensors[0])):
            raise InputError(
                f"the inputs {tensors[0].name!r} and {node.name!r} may have other numbers of rows",
                place="the program",
                remedy="export it with one dynamic batch of all inputs",
            )
    return tensors


def batch_of(source: fx.Node) -> int | torch.SymInt:
    """The size of the input's first axis: a symbol, or a number where torch has settled on one."""
    extent: int | torch.SymInt = source.meta["val"].shape[0]
    settled = extent if isinstance(extent, int) else extent.node.maybe_as_int()
    return extent if settled is None else int(settled)


def is_batch(extent: int | torch.SymInt, batch: int | torch.SymInt) -> bool:
    """Whether an axis of this extent holds the rows of a batch of this size."""
    if isinstance(extent, int) or isinstance(batch, int):
        # A comparison of a number with a symbol would make torch settle on that number.
        return isinstance(extent, int) and isinstance(batch, int) and extent == batch
    same: bool = extent.node.expr == batch.node.expr
    return same


def reached_from(nodes: Iterable[fx.Node], *sources: fx.Node) -> set[fx.Node]:
    """The nodes that depend on the numbers in `sources`, and not only on their shapes."""
    reached = {*sources}
    for node in nodes:
        only_shape = any(part in op_name(node) for part in _ONLY_SHAPES)
        if not only_shape and any(i in reached for i in node.all_input_nodes):
            reached.add(node)
    return reached


def live(program: ExportedProgram, outputs: Iterable[fx.Node]) -> list[fx.Node]:
    """The nodes that the outputs need, in order of execution."""
    needed, waiting = set[fx.Node](), list(outputs)
    while waiting:
        node = waiting.pop()
        if node not in needed:
            needed.add(node)
            waiting.extend(node.all_input_nodes)
    return [node for node in program.graph.nodes if node in needed]


def stored_tensors(
    program: ExportedProgram, replaced: Mapping[str, Tensor]
) -> dict[str, tuple[str, Tensor]]:
    """Map each placeholder that holds a tensor to (its name in the user's model, the tensor)."""
    tensors = {**program.constants, **program.state_dict, **replaced}
    stored = dict[str, tuple[str, Tensor]]()
    for spec in program.graph_signature.input_specs:
        if spec.kind is InputKind.USER_INPUT or spec.target is None:
            continue
        tensor = tensors.get(spec.target)
        if isinstance(tensor, Tensor):
            stored[spec.arg.name] = (spec.target, tensor)
    return stored


def is_read(node: fx.Node, needed: Container[fx.Node]) -> bool:
    """Whether any node reads the numbers in a tensor; a buffer for noise is only drawn into."""
    users = [user for user in node.users if user in needed]
    return not all(
        op_name(user) in _DRAWN_INTO or (op_name(user) in _COPIES and not is_read(user, needed))
        for user in users
    )


def check_finite(name: str, tensor: Tensor) -> None:
    """Raise CompileError if a stored tensor holds NaN or infinity.

    A tensor that is no parameter may hold minus infinity, as masks of attention do.
    """
    if not tensor.is_floating_point():
        return
    masks = not isinstance(tensor, torch.nn.Parameter)
    holds = torch.isfinite(tensor) | (torch.isneginf(tensor) & masks)
    if not bool(holds.all()):
        raise CompileError(
            "holds NaN or infinity", name, remedy="the training has diverged, train again"
        )
