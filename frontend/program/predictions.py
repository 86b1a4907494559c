"""The outputs of a program that are predictions, with their names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, fx
from torch.export import ExportedProgram
from torch.export.graph_signature import OutputKind

from qbnnc.frontend.program.nodes import batch_of, reached_from, the_inputs
from qbnnc.frontend.program.output_names import leaf_names
from qbnnc.frontend.program.random_ops import draws_noise, op_name
from qbnnc.ir.outputs import role_of
from qbnnc.support.errors import CompileError

_MOVES = frozenset(
    "alias clone contiguous detach expand flatten lift_fresh_copy reshape squeeze unsqueeze view "
    "_to_copy to".split()
)


@dataclass(frozen=True, slots=True)
class Prediction:
    """An output that is a prediction.

    `name` is "" if forward gives it none. `position` counts all that forward returns. `constant`
    means that it depends on no number in the input.
    """

    node: fx.Node
    name: str
    position: int
    constant: bool


@dataclass(frozen=True, slots=True)
class Returned:
    """All that forward returns; `left_out` describes each output that is no prediction.

    `stated` are the names that the user gave when the program was saved, if any.
    """

    predictions: tuple[Prediction, ...]
    left_out: tuple[str, ...]
    stated: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """A name for each prediction, or none at all."""
        names = tuple(p.name for p in self.predictions)
        return names if any(names) else ()


def returned(program: ExportedProgram) -> Returned:
    """The outputs in order: those that depend on the input, and constants for each of its rows.

    A constant is a prediction if it fits an output that depends on the input. It must also have the
    batch's axis or be a parameter, such as a variance for all inputs. A KL term is left out.
    """
    source, *more = the_inputs(program)
    reached, found, others = reached_from(program.graph.nodes, source, *more), [], []
    leaves = list(_leaves(program))
    rows = [node.meta["val"].shape[1:] for node, _, _ in leaves if node in reached]
    if not rows:
        raise CompileError(
            "no output depends on the input", "output", remedy="check what forward returns"
        )
    for node, name, position in leaves:
        if node in reached:
            found.append(Prediction(node, name, position, constant=False))
        elif node is not None and _predicts(node, name, source, rows):
            found.append(Prediction(node, name, position, constant=True))
        else:
            others.append(_described(node, name, position))
    return Returned(tuple(found), tuple(others))


def predicted(program: ExportedProgram) -> list[fx.Node]:
    """The nodes of the predictions that depend on the input."""
    return [output.node for output in returned(program).predictions if not output.constant]


def _leaves(program: ExportedProgram) -> Iterator[tuple[fx.Node | None, str, int]]:
    """Yield (node, name, position) of all that forward returns; no tensor has the node None."""
    by_name = {node.name: node for node in program.graph.nodes}
    specs = [s for s in program.graph_signature.output_specs if s.kind is OutputKind.USER_OUTPUT]
    spec = program.call_spec.out_spec
    names = [""] * len(specs) if spec is None else leaf_names(spec)
    for position, (output, name) in enumerate(zip(specs, names, strict=True)):
        node = by_name.get(getattr(output.arg, "name", ""))
        yield node if node is not None and _is_tensor(node) else None, name, position


def _is_tensor(node: fx.Node) -> bool:
    return isinstance(node.meta.get("val"), Tensor)


def _predicts(node: fx.Node, name: str, source: fx.Node, rows: list[torch.Size]) -> bool:
    shape = node.meta["val"].shape
    if not node.meta["val"].is_floating_point():
        return False
    if len(shape) and same_extent(shape[0], batch_of(source)):
        return any(fits(shape[1:], row) for row in rows)
    alone = _of_one_tensor(node) and (len(shape) > 0 or _is_parameter(node))
    return fits(shape, rows[0]) and (alone or role_of(name) is not None)


def fits(shape: torch.Size, row: torch.Size) -> bool:
    """Whether a shape broadcasts to a row of a prediction, axes of length 1 in front aside."""
    more = max(0, len(shape) - len(row))
    return all(m == 1 for m in shape[:more]) and all(
        m in (1, n) for m, n in zip(reversed(shape[more:]), reversed(row), strict=False)
    )


def same_extent(extent: int | torch.SymInt, batch: int | torch.SymInt) -> bool:
    if isinstance(extent, int) or isinstance(batch, int):
        return isinstance(extent, int) and isinstance(batch, int) and extent == batch
    return bool(extent.node.expr == batch.node.expr)


def bare_tensor(node: fx.Node) -> fx.Node | None:
    """The parameter or buffer of which the node is a moved or expanded copy, if there is one."""
    while op_name(node) in _MOVES:
        node = node.all_input_nodes[0]
    is_stored = node.op == "placeholder" and not node.name.startswith("c_")
    return node if is_stored else None


def _is_parameter(node: fx.Node) -> bool:
    """Whether the node is a parameter as it is; a buffer of one number may hold a KL term."""
    bare = bare_tensor(node)
    return bare is not None and bare.name.startswith("p_")


def _of_one_tensor(node: fx.Node) -> bool:
    """Whether the node is one parameter or buffer, changed only by functions of its elements."""
    while node.op != "placeholder":
        inputs = node.all_input_nodes
        if len(inputs) != 1 or draws_noise(node) or not _is_tensor(inputs[0]):
            return False
        if inputs[0].meta["val"].numel() > node.meta["val"].numel():
            return False
        node = inputs[0]
    return not node.name.startswith("c_")


def _described(node: fx.Node | None, name: str, position: int) -> str:
    title = f"output {position}" + f" ({name!r})" * bool(name)
    if node is None:
        return f"{title}: no tensor"
    shape = list(node.meta["val"].shape)
    return f"{title}, {shape}: the same for every input, and no prediction by its shape"
