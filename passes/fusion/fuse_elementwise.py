"""Fuse ops that compute one number from each element of one value into one function."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from qbnnc.ir.graph import Builder, Graph, Node, Value, rewrite
from qbnnc.ir.ops import Add, Affine, Clamp, Composite, Multiply, Operation, Part, Step, Unary


@dataclass(frozen=True, slots=True)
class FuseElementwise:
    """Unary functions, composites, clamps, and sums and products of two values are elementwise.

    1. The largest set of elementwise ops that compute a value from one other value, its root,
       becomes one Composite, hence one table. The sum or product of a value with itself is a set.
    2. A value inside a set that is read elsewhere too is computed from the same root a second
       time, so that its readers see no change.
    3. A clamp that keeps 0 is in no set if it belongs to a requantisation. It then alone reads an
       input, a layer, an average, or a sum or product that is in no set.
    4. A single unary function, composite or clamp stays as it is.

    The oracle is the same to rounding: inside a Composite nothing is rounded to float32.
    """

    name: str = "fuse-elementwise"

    def __call__(self, graph: Graph, /) -> Graph:
        sets = _Sets(graph)
        roots, now = dict(sets.wanted()), dict[Value, Value]()

        def enter(value: Value, build: Builder) -> Value:
            now[graph.input] = value
            return value

        def rule(node: Node, build: Builder) -> Value:
            op, inputs = node.op, node.inputs
            if (root := roots.get(node.output)) is not None:
                op, inputs = Composite(_program_of(node.output, root, sets.members)), (now[root],)
            now[node.output] = build.emit(op, *inputs, loc=node.loc, name=node.output.name)
            return now[node.output]

        return rewrite(graph, rule, None, enter)


class _Sets:
    """The sets of elementwise nodes of a graph.

    `members` maps values to the elementwise nodes that compute them. `above` maps each of these
    values to those that alone determine it, nearest first, ending with its root.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.members: dict[Value, Node] = {}
        self.above: dict[Value, tuple[Value, ...]] = {}
        producers = graph.producers()
        for node in graph.nodes:
            if self.is_elementwise(node, producers.get(node.inputs[0]) if node.inputs else None):
                nearest = self.determining(node)
                if nearest is not None:
                    self.members[node.output] = node
                    self.above[node.output] = (nearest, *self.above.get(nearest, ()))

    def is_elementwise(self, node: Node, before: Node | None) -> bool:
        """Whether an op may be in a set. The input's quantiser does the one Affine that is left."""
        match node.op:
            case Affine():
                return False
            case Clamp() as clamp:
                return not (clamp.keeps_zero and self.requantises(node, before))
            case op:
                same = all(value.type == node.output.type for value in node.inputs)
                return op.composable and (len(node.inputs) == 1 or same)

    def requantises(self, clamp: Node, before: Node | None) -> bool:
        """Whether a clamp belongs to a requantisation (rule 3)."""
        if self.graph.only_reader(clamp.inputs[0]) is not clamp:
            return False
        if before is None:
            return True
        rounds = before.op.has_own_scale or isinstance(before.op, Affine | Part)
        return rounds and before.output not in self.members

    def determining(self, node: Node) -> Value | None:
        """The nearest value that alone determines a node's output; None if there is none."""
        first, *rest = node.inputs
        if not rest:
            return first
        second = {rest[0], *self.above.get(rest[0], ())}
        common = (v for v in (first, *self.above.get(first, ())) if v in second)
        return next(common, None)

    def wanted(self) -> Iterator[tuple[Value, Value]]:
        """(value, root) of every set whose result is read outside of sets."""
        needed = set(self.graph.outputs)
        for node in reversed(self.graph.nodes):
            if node.output not in needed:
                continue
            chain = self.above.get(node.output)
            if chain is None or (len(node.inputs) == 1 and chain[-1] is node.inputs[0]):
                needed.update(node.inputs)
            else:
                needed.add(chain[-1])
                yield node.output, chain[-1]


def _program_of(value: Value, root: Value, members: Mapping[Value, Node]) -> tuple[Step, ...]:
    """The steps that compute a value from each element of `root`, by `members`."""
    program = _Program(root)
    for node in _in_order(value, root, members):
        program.add(node)
    return program.ending_with(value)


def _in_order(value: Value, root: Value, members: Mapping[Value, Node]) -> list[Node]:
    """The members between root and value, each after those it reads."""
    needed = {value}
    for node in reversed(list(members.values())):  # they are in the order of the graph
        if node.output in needed and node.output is not root:
            needed.update(node.inputs)
    return [n for v, n in members.items() if v in needed and v is not root]


class _Program:
    """Steps so far; `operands` maps each value to the step that computes it, the root to 0."""

    def __init__(self, root: Value) -> None:
        self.operands, self.steps = {root: 0}, list[Step]()

    def add(self, node: Node) -> None:
        inputs = tuple(self.operands[v] for v in node.inputs)
        match node.op:
            case Unary(function, parameter):
                result = self.step(Operation.FUNCTION, inputs, parameter)
                self.steps[-1] = replace(self.steps[-1], function=function)
            case Composite(steps):
                result = self.inlined(steps, inputs[0])
            case Clamp(low, high):
                result = self.bounded(inputs[0], low, high)
            case Add():
                result = self.step(Operation.ADD, inputs)
            case Multiply():
                result = self.step(Operation.MULTIPLY, inputs)
            case op:
                raise TypeError(f"{op.name} is not elementwise")
        self.operands[node.output] = result

    def step(self, operation: Operation, operands: tuple[int, ...], *numbers: float) -> int:
        self.steps.append(Step(operation, operands, numbers))
        return len(self.steps)

    def inlined(self, steps: tuple[Step, ...], x: int) -> int:
        places = [x]
        for step in steps:
            operands = tuple(places[operand] for operand in step.operands)
            self.steps.append(replace(step, operands=operands))
            places.append(len(self.steps))
        return places[-1]

    def bounded(self, x: int, low: float | None, high: float | None) -> int:
        """Add the steps of a clamp, whose bounds are float32."""
        both = (Operation.LOWER_BOUND, low), (Operation.UPPER_BOUND, high)
        for operation, bound in both:
            if bound is not None:
                x = self.step(operation, (x,), float(np.float32(bound)))
        return x

    def ending_with(self, value: Value) -> tuple[Step, ...]:
        """The steps; the last one computes `value`, if need be again."""
        result = self.operands[value]
        if result == len(self.steps) and self.steps:
            return tuple(self.steps)
        return (*self.steps, Step(Operation.AFFINE, (result,), (1.0, 0.0)))
