"""Recurrences that move a state by a share of a difference, as sums of two products."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from qbnnc.ir.graph import Builder, Graph, Node, Value, rewrite
from qbnnc.ir.ops import Add, Affine, Multiply
from qbnnc.ir.types import Array

_REST = (("scale", -1), ("shift", 1))  # 1 - share


@dataclass(frozen=True, slots=True)
class SpreadInterpolations:
    """1. n + z * (h - n) becomes z * h + (1 - z) * n, and n - z * (n - h) likewise, if the state of
       another such step is h or n. A GRU is often written so, and torch.lerp is the same.
    2. Declined if another node reads the product or the difference, or if shapes differ.
    3. The first step, n - z * n, becomes (1 - z) * n where its result is a state of such a step.

    CarryStates keeps 16 bits for sums of two products. The oracle is the same to rounding.
    """

    name: str = "spread-interpolations"

    def __call__(self, graph: Graph, /) -> Graph:
        steps = _steps(graph)
        return _rewritten(graph, steps) if steps else graph


@dataclass(frozen=True, slots=True)
class _Step:
    """share * far + (1 - share) * near; without `far`, only the second product."""

    node: Node
    share: Value
    near: Value
    far: Value | None

    @property
    def ends(self) -> set[Value]:
        return {self.near} if self.far is None else {self.near, self.far}


def _steps(graph: Graph) -> dict[Value, _Step]:
    """The steps of recurrences by their results: each reads another's, or is read by one."""
    finder = _Finder(graph)
    every = {node.output: step for node in graph.nodes if (step := finder.step(node))}
    linked = set[Value]()
    for value, step in every.items():
        before = {end for end in step.ends if end in every}
        linked |= {value, *before} if before else before
    return {value: every[value] for value in every if value in linked}


class _Finder:
    """Reads the steps of a graph."""

    def __init__(self, graph: Graph) -> None:
        self._graph, self._producers = graph, graph.producers()

    def step(self, node: Node) -> _Step | None:
        """The step that ends in this sum, if it is one."""
        if not isinstance(node.op, Add):
            return None
        return next((step for near in (0, 1) for step in self._from(node, near)), None)

    def _from(self, node: Node, near: int) -> Iterator[_Step]:
        """Yield the step whose `near` is this operand of the sum."""
        start, moved = node.inputs[near], node.inputs[1 - near]
        sign, product = self._signed(moved)
        maker = self._producers.get(product)
        if maker is None or not isinstance(maker.op, Multiply) or not self._alone(product, sign):
            return
        for share, difference in (maker.inputs, maker.inputs[::-1]):
            far = self._far(difference, start, sign)
            if far is not None and _even(node, share, *far):
                yield _Step(node, share, start, *far)

    def _far(self, difference: Value, near: Value, sign: int) -> tuple[Value] | tuple[None] | None:
        """The other end, if the difference times the sign is far - near; (None,) if that is 0."""
        signs = [(s * sign, v) for s, v in self._terms(difference, near)]
        if (-1, near) not in signs or not self._alone(difference, 1):
            return None
        signs.remove((-1, near))
        match signs:
            case []:
                return (None,)
            case [(1, far)]:
                return (far,)
        return None

    def _terms(self, value: Value, near: Value) -> list[tuple[int, Value]]:
        """The values that a sum or difference adds, with their signs; `near` is taken as it is."""
        maker = self._producers.get(value)
        parts = maker.inputs if maker is not None and isinstance(maker.op, Add) else (value,)
        return [(1, near) if each is near else self._signed(each) for each in parts]

    def _signed(self, value: Value) -> tuple[int, Value]:
        """-1 and x for a value that is -x; else 1 and the value."""
        maker = self._producers.get(value)
        if maker is None or not isinstance(maker.op, Affine):
            return 1, value
        return (-1, maker.inputs[0]) if _negates(maker, self._graph.constants) else (1, value)

    def _alone(self, value: Value, sign: int) -> bool:
        """Whether one node reads this value, and one reads its negative if the sign is -1."""
        reader = self._graph.only_reader(value)
        if reader is None or sign > 0:
            return reader is not None
        return self._graph.only_reader(reader.output) is not None


def _negates(affine: Node, constants: Mapping[Value, Array]) -> bool:
    scale, shift = (constants[value] for value in affine.inputs[1:])
    return bool((scale == -1).all() and not shift.any())


def _even(node: Node, *values: Value | None) -> bool:
    shape = node.output.type.shape
    return all(v.type.shape == shape for v in values if v is not None)


def _rewritten(graph: Graph, steps: Mapping[Value, _Step]) -> Graph:
    new: dict[Value, Value] = {}

    def rule(node: Node, build: Builder) -> Value:
        new.setdefault(graph.input, build.row)
        if (step := steps.get(node.output)) is not None:
            made = _spread(step, new, build)
        else:
            made = build.emit(node.op, *node.inputs, loc=node.loc, name=node.output.name)
        new[node.output] = made
        return made

    return rewrite(graph, rule)


def _spread(step: _Step, new: Mapping[Value, Value], build: Builder) -> Value:
    """Emit the products, and their sum."""
    node, name = step.node, step.node.output.name
    share, near = new[step.share], new[step.near]
    one = np.ones([1] * len(share.type.shape), np.float32)
    constants = (build.constant(f"{name}.{what}", sign * one) for what, sign in _REST)
    rest = build.emit(Affine(), share, *constants, loc=node.loc, name=f"{name}.rest")
    if step.far is None:
        return build.emit(Multiply(), rest, near, loc=node.loc, name=name)
    far = new[step.far]
    moved = build.emit(Multiply(), share, far, loc=node.loc, name=f"{name}.moved")
    kept = build.emit(Multiply(), rest, near, loc=node.loc, name=f"{name}.kept")
    return build.emit(Add(), moved, kept, loc=node.loc, name=name)
