"""Recognise normalisation that is written by hand, and make it one op."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod, sqrt

import numpy as np

from qbnnc.ir.graph import Builder, Graph, Node, Value, rewrite
from qbnnc.ir.ops import (
    Add,
    Affine,
    AveragePool2d,
    Clamp,
    Function,
    Multiply,
    Normalize,
    Op,
    Rearrangement,
    Reshape,
    Transpose,
    Unary,
)
from qbnnc.passes.fusion.affine_values import Scaling
from qbnnc.passes.fusion.group_statistics import Elements, Fact, Kind, Statistic
from qbnnc.passes.parameters import float32_constant

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RecogniseNorms:
    """1. x - mean(x), or x itself, times 1/max(sqrt(v + eps) + outer_eps, floor) becomes one
       Normalize. v is a multiple of the group's variance for the first, and of its mean square for
       the second. A constant factor of the numerator or of v becomes one of the result.
    2. Groups are the windows of an average pool that holds each element of x once. They may be
       reshaped, transposed and broadcast on the way, and each element has to meet its own group.
    3. The variance is the mean of squared differences, its multiple by n/(n - 1), or the mean of
       squares minus the square of the mean.
    4. Groups that are no last axes of x become these by a transpose, or by a reshape. Declined
       where neither does.
    5. Declined for a negative eps.

    The oracle is the same to rounding. A group of equal elements without eps gives 0, not NaN.
    """

    name: str = "recognise-norms"

    def __call__(self, graph: Graph, /) -> Graph:
        if not any(isinstance(node.op, AveragePool2d) for node in graph.nodes):
            return graph
        found = dict(_norms(graph))
        if not found:
            return graph
        now: dict[Value, Value] = {}

        def enter(value: Value, build: Builder) -> Value:
            now[graph.input] = value
            return value

        def rule(node: Node, build: Builder) -> Value:
            norm = found.get(node.output)
            if norm is None:
                made = build.emit(node.op, *node.inputs, loc=node.loc, name=node.output.name)
            else:
                made = norm.emit(now[norm.elements.base], node, build)
            now[node.output] = made
            return made

        return rewrite(graph, rule, None, enter)


@dataclass(frozen=True, slots=True, eq=False)
class _Norm:
    """Elements divided by the root of their group; `before` brings the groups to the last axes."""

    elements: Elements
    op: Normalize
    weight: float
    before: tuple[Rearrangement, ...]
    back: tuple[Rearrangement, ...]

    def emit(self, x: Value, node: Node, build: Builder) -> Value:
        gain, name = self.elements.gain, node.output.name
        steps: list[Op] = [*self.before, self.op, *self.back, *self.elements.moves]
        steps += [Affine()] * (gain is not None)
        for number, op in enumerate(steps, start=1):
            ones = (1,) * len(x.type.shape)
            constants: tuple[Value, ...] = ()
            own = name if number == len(steps) else f"{name}.{op.name}"
            if isinstance(op, Normalize):
                numbers = (np.full(ones, self.weight), np.zeros(ones))
                constants = _constants(own, ("weight", "bias"), numbers, build)
            elif isinstance(op, Affine):
                assert gain is not None
                scaling = Scaling.made(x.type.shape, gain, np.zeros(ones))
                numbers = (scaling.scale, scaling.shift)
                constants = _constants(own, ("scale", "shift"), numbers, build)
            x = build.emit(op, x, *constants, loc=node.loc, name=own)
        return x


def _constants(
    name: str, names: tuple[str, str], arrays: tuple[np.ndarray, np.ndarray], build: Builder
) -> tuple[Value, ...]:
    pairs = zip(names, arrays, strict=True)
    return tuple(float32_constant(f"{name}.{what}", array, build) for what, array in pairs)


def _norms(graph: Graph) -> Iterator[tuple[Value, _Norm]]:
    """The products that are a norm."""
    facts = dict[Value, Fact]()
    for node in graph.nodes:
        if isinstance(node.op, Multiply) and (norm := _norm_of(node, facts)) is not None:
            yield node.output, norm
        elif (fact := _fact_of(node, facts, graph)) is not None:
            facts[node.output] = fact


def _fact_of(node: Node, facts: dict[Value, Fact], graph: Graph) -> Fact | None:
    inputs = [facts.get(value) for value in node.inputs]
    match node.op:
        case Rearrangement() as op:
            first = inputs[0] or Elements.of(node.inputs[0])
            return first.moved(op, node.output.type.shape)
        case AveragePool2d() as pool:
            return _pooled(node.inputs[0], inputs[0], pool)
        case Affine():
            scaling = Scaling.of(node, graph.constants)
            return _scaled(node.inputs[0], inputs[0], scaling)
        case Clamp(float() as low, None) if isinstance(inputs[0], Statistic):
            return inputs[0].at_least(low)
        case Unary(Function.POW, exponent):
            return _raised(node.inputs[0], inputs[0], exponent)
        case Add() | Multiply():
            return _combined(node, facts)
    return None


def _pooled(x: Value, fact: Fact | None, pool: AveragePool2d) -> Fact | None:
    if isinstance(fact, Elements) and (found := fact.averaged(pool)) is not None:
        return found
    return Elements.of(x).averaged(pool)


def _scaled(x: Value, fact: Fact | None, scaling: Scaling) -> Fact | None:
    if isinstance(fact, Statistic):
        return None if scaling.number is None else fact.affine(*scaling.number)
    if scaling.shift.any():
        return None
    return (fact or Elements.of(x)).scaled(scaling.scale)


def _raised(x: Value, fact: Fact | None, exponent: float) -> Fact | None:
    if isinstance(fact, Statistic):
        return fact.power(exponent)
    if exponent != 2:
        return None
    squares = None if fact is None else fact.times(fact)
    return Elements.of(x).times(Elements.of(x)) if squares is None else squares


def _combined(node: Node, facts: dict[Value, Fact]) -> Fact | None:
    """The fact of a sum or product, of its inputs in either order."""
    a, b = node.inputs
    for first, second in ((a, b), (b, a)):
        mine, other = facts.get(first), facts.get(second)
        if isinstance(mine, Statistic) and isinstance(other, Statistic):
            found = _of_statistics(node.op, mine, other)
        elif isinstance(other, Statistic):
            found = _centred(node.op, first, other, facts)
        else:
            found = _squared(node.op, first, second, facts)
        if found is not None:
            return found
    return None


def _of_statistics(op: Op, a: Statistic, b: Statistic) -> Fact | None:
    if isinstance(op, Add):
        return a.plus(b)
    same = a.base is b.base and np.array_equal(a.group, b.group)
    same = same and np.array_equal(a.partition, b.partition) and a.scale == b.scale
    return a.power(2.0) if same and a.kind is b.kind is Kind.MEAN else None


def _centred(op: Op, x: Value, mean: Statistic, facts: dict[Value, Fact]) -> Fact | None:
    if not isinstance(op, Add):
        return None
    return next((f for e in _elements(x, facts) if (f := e.minus(mean)) is not None), None)


def _squared(op: Op, a: Value, b: Value, facts: dict[Value, Fact]) -> Fact | None:
    if not isinstance(op, Multiply):
        return None
    pairs = ((x, y) for x in _elements(a, facts) for y in _elements(b, facts))
    return next((f for x, y in pairs if (f := x.times(y)) is not None), None)


def _elements(value: Value, facts: dict[Value, Fact]) -> Iterator[Elements]:
    """What is known of a value's elements: by another base, and as its own base."""
    if isinstance(fact := facts.get(value), Elements):
        yield fact
    yield Elements.of(value)


def _norm_of(node: Node, facts: dict[Value, Fact]) -> _Norm | None:
    """The norm that a product is, of its inputs in either order."""
    a, b = node.inputs
    for first, second in ((a, b), (b, a)):
        root = facts.get(second)
        if not isinstance(root, Statistic) or root.kind is not Kind.INVERSE:
            continue
        if first.type.shape != node.output.type.shape:
            continue
        for elements in _elements(first, facts):
            if _divides(root, elements) and (norm := _laid_out(elements, root)) is not None:
                return norm
    return None


def _divides(root: Statistic, elements: Elements) -> bool:
    """Whether these are the elements of which the root is the deviation or the mean square."""
    centred = elements.partition is not None
    if elements.squared or centred is not root.centred or not root.is_of(elements):
        return False
    return elements.partition is None or np.array_equal(elements.partition, root.partition)


def _laid_out(elements: Elements, root: Statistic) -> _Norm | None:
    """The norm over the last axes of x, or of x transposed or reshaped."""
    factor = sqrt(root.scale)
    numbers = root.eps / root.scale, root.outer_eps / factor, root.floor / factor
    if min(numbers) < 0:
        return None
    shape, groups = elements.base.type.shape, int(root.partition.max()) + 1
    found = _last_axes(root.partition.reshape(shape), groups)
    if found is None:
        return None
    before, axes, back = found
    eps, outer_eps, floor = numbers
    op = Normalize(axes, eps, root.centred, outer_eps, floor)
    return _Norm(elements, op, 1 / factor, before, back)


_Laid = tuple[tuple[Rearrangement, ...], int, tuple[Rearrangement, ...]]


def _last_axes(partition: np.ndarray, groups: int) -> _Laid | None:
    """(moves, axes, moves back) that make groups the last axes; None if nothing here does."""
    shape, rank = partition.shape, partition.ndim
    constant = [bool((partition == partition.take([0], axis)).all()) for axis in range(rank)]
    for axes in range(1, rank + 1):
        if all(constant[rank - axes :]) and prod(shape[: rank - axes]) == groups:
            return (), axes, ()
    over = [axis for axis in range(rank) if constant[axis]]
    kept = [axis for axis in range(rank) if not constant[axis]]
    if over and prod(shape[axis] for axis in kept) == groups:
        order = (*kept, *over)
        inverse = tuple(int(i) for i in np.argsort(order))
        return (Transpose(order),), len(over), (Transpose(inverse),)
    count = partition.size // groups
    if np.array_equal(partition.reshape(-1), np.arange(groups).repeat(count)):
        return (Reshape((groups, count)),), 1, (Reshape(shape),)
    return None
