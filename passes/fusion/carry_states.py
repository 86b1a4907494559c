"""States that a recurrence carries from step to step keep 16 bits: an LSTM's cell, a GRU's h."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from qbnnc.ir.graph import Builder, Graph, Node, Value, rewrite, unnumbered
from qbnnc.ir.ops import Add, Clamp, Multiply, Pointwise, SumOfProducts


@dataclass(frozen=True, slots=True)
class CarryStates:
    """1. a*b + c*d becomes one SumOfProducts if another such sum multiplies it, or it multiplies
       another: they are the steps of a recurrence. Both products have equal shapes, and nothing
       else reads them.
    2. A product that such a sum multiplies is the first step, and a SumOfProducts of one pair.
    3. What else reads these reads them through a view, which has a scale of its own: a clamp
       without bounds, or the clamp that reads the state already. Functions have one view, and all
       others another. Outputs of the graph read the state itself.
    4. Declined for a product of two states.

    The oracle is the same bit for bit.
    """

    name: str = "carry-states"

    def __call__(self, graph: Graph, /) -> Graph:
        found = _Recurrences(graph)
        return _rewritten(graph, found) if found.sums else graph


class _Recurrences:
    """`sums` maps each sum that is a step to its products, `starts` are first steps."""

    def __init__(self, graph: Graph) -> None:
        self._graph, self._producers = graph, graph.producers()
        every = {node.output: pair for node in graph.nodes if (pair := self._products(node))}
        steps = set[Value]()
        for value, products in every.items():
            before = {v for product in products for v in product.inputs if v in every}
            steps |= {value, *before} if before else before
        self.sums = {value: every[value] for value in every if value in steps}
        squares = {value for value, products in self.sums.items() if self._squares(products)}
        self.sums = {value: pair for value, pair in self.sums.items() if value not in squares}
        self.products = {product.output for pair in self.sums.values() for product in pair}
        self.starts = set(self._first_steps())

    def _products(self, node: Node) -> tuple[Node, Node] | None:
        if not isinstance(node.op, Add):
            return None
        first, second = (self._producers.get(value) for value in node.inputs)
        if first is None or second is None:
            return None
        alone = all(self._graph.only_reader(n.output) is node for n in (first, second))
        return (first, second) if alone and all(map(_is_even, (first, second))) else None

    def _squares(self, products: tuple[Node, Node]) -> bool:
        """Whether both factors of a product may be states."""
        return any(all(map(self._may_be_state, product.inputs)) for product in products)

    def _may_be_state(self, value: Value) -> bool:
        node = self._producers.get(value)
        return value in self.sums or (node is not None and _is_even(node))

    def _first_steps(self) -> Iterator[Value]:
        for products in self.sums.values():
            for value in (v for product in products for v in product.inputs):
                node = self._producers.get(value)
                if node is not None and _is_even(node):
                    yield value


def _is_even(node: Node) -> bool:
    """Whether a node is a product of values of one shape."""
    a = node.output.type.shape
    return isinstance(node.op, Multiply) and all(v.type.shape == a for v in node.inputs)


def _rewritten(graph: Graph, found: _Recurrences) -> Graph:
    factors, states = dict[Value, tuple[Value, ...]](), set[Value]()
    views: dict[tuple[Value, bool], Value] = {}

    def state(node: Node, inputs: tuple[Value, ...], build: Builder) -> Value:
        made = build.emit(SumOfProducts(), *inputs, loc=node.loc, name=node.output.name)
        states.add(made)
        return made

    def view(value: Value, node: Node, build: Builder) -> Value:
        if value not in states or isinstance(node.op, Clamp):
            return value
        key = value, isinstance(node.op, Pointwise)
        if key not in views:
            name = f"{unnumbered(value.name)}.view"
            views[key] = build.emit(Clamp(None, None), value, loc=node.loc, name=name)
        return views[key]

    def rule(node: Node, build: Builder) -> Value | None:
        if node.output in found.products:
            a, b = node.inputs
            factors[node.output] = (b, a) if a in states else (a, b)  # a state comes second
        elif node.output in found.sums:
            products = (product.output for product in found.sums[node.output])
            return state(node, tuple(v for each in products for v in factors[each]), build)
        if node.output in found.starts:
            return state(node, tuple(view(v, node, build) for v in node.inputs), build)
        if node.output in found.products or states.isdisjoint(node.inputs):
            return None
        inputs = (view(value, node, build) for value in node.inputs)
        return build.emit(node.op, *inputs, loc=node.loc, name=node.output.name)

    return rewrite(graph, rule)
