"""The graph: values, nodes in execution order, and the two ways to make one."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from qbnnc.ir.ops.base import Op
from qbnnc.ir.types import CONSTANT, Array, DType, QuantParams, Stage, TensorType
from qbnnc.support.errors import CompileError, Loc

_NUMBER = re.compile(r"\.\d+$")


@dataclass(frozen=True, slots=True, eq=False)  # a Value is equal only to itself
class Value:
    name: str
    type: TensorType


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    op: Op
    inputs: tuple[Value, ...]
    output: Value
    loc: Loc


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """A function of one batch: nodes in execution order, each value once, names unique."""

    input: Value
    nodes: tuple[Node, ...]
    outputs: tuple[Value, ...]
    constants: Mapping[Value, Array]
    stage: Stage

    def producers(self) -> dict[Value, Node]:
        return {node.output: node for node in self.nodes}

    def consumers(self) -> dict[Value, list[Node]]:
        """The nodes that read each value. An output of the graph is not a node."""
        readers: dict[Value, list[Node]] = {}
        for node in self.nodes:
            for value in dict.fromkeys(node.inputs):
                readers.setdefault(value, []).append(node)
        return readers

    def only_reader(self, value: Value) -> Node | None:
        """The node that reads `value` if there is exactly one and `value` is not an output."""
        readers = [node for node in self.nodes if value in node.inputs]
        return readers[0] if len(readers) == 1 and value not in self.outputs else None

    def __str__(self) -> str:
        from qbnnc.ir.text import graph_text

        return graph_text(self)


class Builder:
    """Collects nodes; the only place where a node's type is worked out.

    Names need not be unique while building: `graph` adds ".2", ".3", ... where two live values
    share one.
    """

    def __init__(self) -> None:
        self._input: Value | None = None
        self._nodes: list[Node] = []
        self._constants: dict[Value, Array] = {}

    def input(self, name: str, type: TensorType) -> Value:
        """Set the input, the batch that the graph is a function of; ValueError the second time."""
        if self._input is not None:
            raise ValueError("a graph has one input")
        self._input = Value(name, type)
        return self._input

    @property
    def row(self) -> Value:
        """The input; ValueError if there is none yet."""
        if self._input is None:
            raise ValueError("the graph has no input")
        return self._input

    def constant(self, name: str, array: Array, quant: QuantParams | None = None) -> Value:
        """Add a constant; `quant` says what its codes mean."""
        value = Value(name, TensorType(DType.of(array.dtype), array.shape, CONSTANT, quant))
        return self.keep_constant(value, array)

    def keep_constant(self, value: Value, array: Array) -> Value:
        """Add a constant of another graph as it stands."""
        self._constants[value] = array
        return value

    def array(self, value: Value) -> Array | None:
        """The array of a constant; None if `value` is computed."""
        return self._constants.get(value)

    def emit(self, op: Op, *inputs: Value, loc: Loc, name: str) -> Value:
        """Add a node; CompileError if `op` cannot take these inputs."""
        try:
            type_ = op.result(*(value.type for value in inputs))
        except ValueError as error:
            raise CompileError(f"{op.name}: {error}", loc) from error
        output = Value(name, type_)
        self._nodes.append(Node(op, inputs, output, loc))
        return output

    def producer(self, value: Value) -> Node | None:
        """The node emitted so far that computes `value`."""
        return self.latest((value,))

    def nodes_of(self, kind: type[Op]) -> Iterator[Node]:
        """Yield the nodes emitted so far whose op is of this class."""
        return (node for node in self._nodes if isinstance(node.op, kind))

    def latest(self, values: Collection[Value]) -> Node | None:
        """The last node emitted so far that computes one of `values`."""
        return next((node for node in reversed(self._nodes) if node.output in values), None)

    def graph(self, outputs: tuple[Value, ...], stage: Stage) -> Graph:
        """The finished graph, without nodes and constants that no output needs."""
        entry = self.row
        needed, live = set(outputs), list[Node]()
        for node in reversed(self._nodes):
            if node.output in needed:
                needed.update(node.inputs)
                live.append(node)
        constants = {v: a for v, a in self._constants.items() if v in needed}
        return _unique_names(Graph(entry, tuple(reversed(live)), outputs, constants, stage))


def unnumbered(name: str) -> str:
    """A name without the number that makes it unique: "cell" of "cell.3", as all steps have it."""
    return _NUMBER.sub("", name)


def _unique_names(graph: Graph) -> Graph:
    values = [graph.input, *(node.output for node in graph.nodes), *graph.constants]
    names, counts, new = set[str](), dict[str, int](), dict[Value, Value]()
    for value in values:
        name, count = value.name, counts.get(value.name, 1)
        while name in names:
            count += 1
            name = f"{value.name}.{count}"
        counts[value.name] = count
        names.add(name)
        new[value] = value if name == value.name else replace(value, name=name)
    if all(old is renamed for old, renamed in new.items()):
        return graph
    nodes = (
        replace(n, inputs=tuple(new[v] for v in n.inputs), output=new[n.output])
        for n in graph.nodes
    )
    constants = {new[v]: array for v, array in graph.constants.items()}
    outputs = tuple(new[v] for v in graph.outputs)
    return Graph(new[graph.input], tuple(nodes), outputs, constants, graph.stage)


Rule: TypeAlias = Callable[[Node, Builder], "Value | None"]
Entry: TypeAlias = Callable[[Value, Builder], Value]


def rewrite(
    graph: Graph, rule: Rule, stage: Stage | None = None, enter: Entry | None = None
) -> Graph:
    """Rebuild the graph in order.

    `rule` sees each node with its inputs rewritten already, and its output as in the old graph. It
    returns the value that takes the node's place, or None to keep the node. `enter` gives the value
    that takes the place of the input. Nodes and constants that nobody needs are dropped.
    """
    build, new = Builder(), dict[Value, Value]()
    entry = build.input(graph.input.name, graph.input.type)
    for value, array in graph.constants.items():
        build.keep_constant(value, array)
    new[graph.input] = entry if enter is None else enter(entry, build)
    for node in graph.nodes:
        node = replace(node, inputs=tuple(new.get(v, v) for v in node.inputs))
        result = rule(node, build)
        if result is None:
            result = build.emit(node.op, *node.inputs, loc=node.loc, name=node.output.name)
        new[node.output] = result
    outputs = tuple(new.get(v, v) for v in graph.outputs)
    return build.graph(outputs, graph.stage if stage is None else stage)
