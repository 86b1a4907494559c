"""Values that the steps of a recurrent layer repeat, so that one scale can serve all of them.

A recurrent layer is unrolled: its steps read the same weights one after the other. If a value of a
step had a scale of its own in each, so would tables and biases, and code and constants would grow
with the number of steps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Mapping
from dataclasses import fields, is_dataclass
from hashlib import sha256

from qbnnc.ir.graph import Graph, Node, Value, unnumbered
from qbnnc.ir.ops import Concat, Contraction, RandomOp

FEWEST = 3  # readers of a weight that make it the weight of a loop
_ROUNDS = 2  # that compare what reads a value, before values are the same in two steps
_PLACES = {"stream", "start", "stop"}  # fields in which steps differ


def repeated_values(graph: Graph) -> dict[Value, Hashable]:
    """The part that each value has in the steps of a loop; values of one part are alike.

    A weight that three layers or more read is that of a loop. Values have one part if nodes of one
    op, shape, name and module make them, and are read at the same operands of such nodes, and these
    again. A value that no layer of a loop leads to is not in the result.
    """
    weights = weights_of_layers(graph)
    counted = Counter(weights.values())
    repeated = {node for node, weight in weights.items() if counted[weight] >= FEWEST}
    if not repeated:
        return {}
    behind = _behind(graph, repeated)
    parts = _parts(graph, weights)
    counts = Counter(parts[node.output] for node in graph.nodes)
    of_loops = {parts[node.output] for node in graph.nodes if node.output in behind}
    return {
        value: part for value, part in parts.items() if part in of_loops and counts[part] >= FEWEST
    }


def weights_of_layers(graph: Graph) -> dict[Node, Hashable]:
    """What the weight of each layer is: the same for equal numbers, drawn or not."""
    producers, known = graph.producers(), dict[Value, Hashable]()

    def numbers(value: Value) -> Hashable:
        if value not in known:
            known[value] = _numbers(value)
        return known[value]

    def _numbers(value: Value) -> Hashable:
        if (array := graph.constants.get(value)) is not None:
            return array.dtype.str, array.shape, sha256(array.tobytes()).digest()
        node = producers.get(value)
        if node is None or not node.inputs:
            return value
        return node.op, tuple(numbers(each) for each in node.inputs)

    return {n: numbers(n.inputs[1]) for n in graph.nodes if isinstance(n.op, Contraction)}


def _behind(graph: Graph, repeated: Collection[Node]) -> set[Value]:
    """What the layers of loops make, and all that is computed from it."""
    behind = set[Value]()
    for node in graph.nodes:
        if node in repeated or any(value in behind for value in node.inputs):
            behind.add(node.output)
    return behind


def _parts(graph: Graph, weights: Mapping[Node, Hashable]) -> dict[Value, Hashable]:
    """A number for each value: equal ones have one part."""
    parts: dict[Value, Hashable] = {n.output: _own(n, weights.get(n)) for n in graph.nodes}
    readers: dict[Value, list[tuple[Node, int]]] = {}
    for node in graph.nodes:
        for operand, value in enumerate(node.inputs):
            readers.setdefault(value, []).append((node, operand))
    for _ in range(_ROUNDS):
        read = {value: _read(value, parts, readers) for value in parts}
        numbers: dict[Hashable, int] = {}
        parts = {
            value: numbers.setdefault((parts[value], read[value]), len(numbers)) for value in parts
        }
    return parts


def _own(node: Node, weight: Hashable) -> Hashable:
    """What two steps have in common of a node, with the weight of a layer."""
    op = node.op
    if isinstance(op, RandomOp):
        return node.output
    assert is_dataclass(op)  # every op is; its base class cannot say so
    said = tuple((f.name, getattr(op, f.name)) for f in fields(op) if f.name not in _PLACES)
    name = unnumbered(node.output.name)
    return op.name, said, node.output.type.shape, node.loc.module, name, weight


def _read(
    value: Value,
    parts: Mapping[Value, Hashable],
    readers: Mapping[Value, list[tuple[Node, int]]],
) -> Hashable:
    return frozenset(
        (parts[node.output], 0 if isinstance(node.op, Concat) else operand)
        for node, operand in readers.get(value, ())
    )
