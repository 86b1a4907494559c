"""Several inputs: where a program takes each of them out of its rows, and the Parts they become."""

from __future__ import annotations

from collections.abc import Iterator

from torch import fx

from qbnnc.frontend.convert.tracked import Activation
from qbnnc.frontend.program.random_ops import op_name
from qbnnc.ir.graph import Builder, Graph, Value
from qbnnc.ir.inputs import inputs_of
from qbnnc.ir.ops import Part
from qbnnc.support.errors import CompileError, Loc
from qbnnc.support.several_inputs import Entries, Entry

_TAKING = frozenset(
    "slice view _unsafe_view reshape to _to_copy clone alias contiguous squeeze".split()
)


def row_name(inputs: Entries) -> str:
    """The name of the row: that of a single input, or one that no input has."""
    if len(inputs) == 1:
        return inputs[0].name
    name = "inputs"
    while name in {entry.name for entry in inputs}:
        name += "_row"
    return name


def parts_of_row(source: fx.Node, inputs: Entries, build: Builder) -> dict[fx.Node, Activation]:
    """The nodes with which `frontend.module.several_inputs` takes inputs out of a row.

    All of them hold the same numbers, those of the Part that is emitted for the input.
    """
    if len(inputs) == 1:
        return {node: Activation(build.row) for node in _to_the_users(source, inputs[0])}
    found: dict[fx.Node, Activation] = {}
    for entry in inputs:
        part = part_of_row(entry, build)
        for node in _taking(source, entry):
            found[node] = Activation(part)
    return found


def part_of_row(entry: Entry, build: Builder) -> Value:
    """An input, out of the row."""
    op = Part(entry.start, entry.shape)
    return build.emit(op, build.row, loc=Loc(entry.name), name=entry.name)


def check_all_read(graph: Graph, inputs: Entries) -> None:
    """Raise CompileError for an input that no output depends on."""
    read = {entry.name for entry in inputs_of(graph)}
    for entry in inputs:
        if entry.name not in read:
            raise CompileError(
                "no prediction depends on this input",
                entry.name,
                remedy="leave it out of the example inputs, and give forward a default for it",
            )


def _taking(source: fx.Node, entry: Entry) -> Iterator[fx.Node]:
    """The nodes from the slice of the row to the tensor that the user's forward is given."""
    for node in _columns(source):
        if tuple(node.args[2:4]) == (entry.start, entry.stop):
            yield from _to_the_users(node, entry)


def _columns(node: fx.Node) -> Iterator[fx.Node]:
    """The slices of the axis 1 of a row; some versions of torch slice all rows before."""
    for user in node.users:
        if op_name(user) == "slice":
            if len(user.args) > 1 and user.args[1] == 1:
                yield user
            else:
                yield from _columns(user)


def _to_the_users(node: fx.Node, entry: Entry) -> Iterator[fx.Node]:
    """The node, and those after it until shape and element type are the input's."""
    yield node
    value = node.meta["val"]
    typed = not (entry.whole and value.is_floating_point())
    if typed and tuple(value.shape[1:]) == entry.shape:
        return
    for user in node.users:
        if op_name(user) in _TAKING:
            yield from _to_the_users(user, entry)
