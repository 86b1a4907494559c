"""Make one function of what several ops compute from each element of one value."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from qbnnc.ir.graph import Builder, Graph, Node, Value, rewrite
from qbnnc.ir.ops import Affine, Clamp, Composite
from qbnnc.passes.programs import program_of


@dataclass(frozen=True, slots=True)
class FuseElementwise:
    """Unary functions, composites, clamps, and sums and products of two values are elementwise.

    1. The largest set of elementwise ops that compute a value from one other value, its root,
       becomes one Composite, hence one table. The sum or product of a value with itself is a set.
    2. A value inside a set that is read elsewhere too is computed from the same root a second
       time: what reads it sees what it saw.
    3. A clamp that keeps 0 and alone reads the input, a layer, an average, or a sum or product that
       is in no set, belongs to their requantisation: it is in no set.
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
                op, inputs = Composite(program_of(node.output, root, sets.members)), (now[root],)
            now[node.output] = build.emit(op, *inputs, loc=node.loc, name=node.output.name)
            return now[node.output]

        return rewrite(graph, rule, None, enter)


class _Sets:
    """`members` are the elementwise nodes by what they compute; `above` the values that alone
    determine each, nearest first, ending with its root."""

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
        """Rule 3."""
        if self.graph.only_reader(clamp.inputs[0]) is not clamp:
            return False
        if before is None:
            return True
        rounds = before.op.has_own_scale or isinstance(before.op, Affine)
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
