"""The inputs of a network: one, or several that are parts of its row.

A graph has one input value. Where a network takes several tensors, this is the row f32 [N], in
which they stand one after another. A `Part` takes each of them out, under the name that the user
gave it. A graph without a Part takes its input as it is.
"""

from __future__ import annotations

from qbnnc.ir.graph import Graph, Node, Value
from qbnnc.ir.ops.part import Part
from qbnnc.support.several_inputs import Entries, Entry


def inputs_of(graph: Graph) -> Entries:
    """The inputs in the order of the row; a graph of one input names it by the value."""
    parts = parts_of(graph)
    if not parts:
        return (Entry(graph.input.name, graph.input.type.shape),)
    return tuple(Entry(n.output.name, _part(n).shape, _part(n).start) for n in parts)


def parts_of(graph: Graph) -> tuple[Node, ...]:
    """The nodes that take an input out of the row, in the order of the row."""
    found = (node for node in graph.nodes if isinstance(node.op, Part))
    return tuple(sorted(found, key=lambda node: _part(node).start))


def input_values(graph: Graph) -> tuple[Value, ...]:
    """The values that hold the inputs as the user gives them, in the order of the row."""
    return tuple(node.output for node in parts_of(graph)) or (graph.input,)


def check_parts(graph: Graph) -> None:
    """ValueError unless parts, where there are any, cut the whole row without gap or overlap.

    They are taken from the row itself: a part of a part would begin elsewhere in the row.
    """
    parts = parts_of(graph)
    if not parts:
        return
    others = [n for n in graph.nodes if graph.input in n.inputs and not isinstance(n.op, Part)]
    if others or graph.input in graph.outputs:
        reader = others[0].op.name if others else "an output"
        raise ValueError(f"{reader} reads the row of all inputs, and not one of them")
    end = 0
    for node in parts:
        if node.inputs[0] is not graph.input:
            raise ValueError(
                f"the input {node.output.name!r} is a part of {node.inputs[0].name!r}, and not of "
                "the row"
            )
        if _part(node).start != end:
            raise ValueError(
                f"the input {node.output.name!r} begins at element {_part(node).start} of the row, "
                f"and not at {end}"
            )
        end += node.output.type.size
    if end != graph.input.type.size:
        raise ValueError(f"the inputs take {end} elements of a row of {graph.input.type.size}")


def _part(node: Node) -> Part:
    assert isinstance(node.op, Part)
    return node.op
