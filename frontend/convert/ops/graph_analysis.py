"""Analysis of the graph under construction: the ops that a value is computed by."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from qbnnc.ir.graph import Builder, Node, Value
from qbnnc.ir.ops import (
    Add,
    Affine,
    Clamp,
    Composite,
    Function,
    Multiply,
    Operation,
    Step,
    Unary,
)
from qbnnc.ir.types import Array

_LIMIT = 64  # values looked at: a formula by hand has fewer


def may_be_undefined(build: Builder, x: Value) -> str | None:
    """The name of a function before x that can give NaN or infinity; None if there is none."""
    waiting, seen = [x], set[Value]()
    while waiting:
        value = waiting.pop()
        node = build.producer(value)
        if node is None or value in seen:
            continue
        seen.add(value)
        waiting.extend(node.inputs)
        for function, parameter in _functions(node):
            if _has_a_domain(function, parameter):
                return function.value
    return None


def _functions(node: Node) -> list[tuple[Function, float]]:
    match node.op:
        case Unary(function, parameter):
            return [(function, parameter)]
        case Composite(steps):
            return [(s.function, s.numbers[0]) for s in steps if s.function is not None]
        case _:
            return []


def _has_a_domain(function: Function, parameter: float) -> bool:
    match function:
        case Function.POW:
            return parameter < 0 or parameter != int(parameter)
        case Function.LOG | Function.LOG1P | Function.TAN:
            return True
        case _:
            return False


def common_source(build: Builder, values: Sequence[Value]) -> tuple[Value, list[Node]] | None:
    """The nearest value of which all `values` are functions, element by element.

    Returns also the nodes between, in order; None if there is no such value.
    """
    frontier, nodes = set(values), list[Node]()
    shape = values[0].type.shape
    while len(frontier) > 1:
        node = build.latest(frontier)
        if node is None or len(nodes) == _LIMIT or not _is_elementwise(build, node, shape):
            return None
        nodes.append(node)
        frontier.remove(node.output)
        frontier.update(v for v in node.inputs if build.array(v) is None)
    (source,) = frontier
    return None if source.type.shape != shape else (source, nodes[::-1])


def _is_elementwise(build: Builder, node: Node, shape: Collection[int]) -> bool:
    """Whether a node is a function of its operands' elements, with single numbers as constants."""
    constants = [a for v in node.inputs if (a := build.array(v)) is not None]
    rows = [v for v in node.inputs if build.array(v) is None]
    return (
        node.op.composable
        and all(v.type.shape == shape for v in (*rows, node.output))
        and all(_number(a) is not None for a in constants)
    )


def steps_of(
    build: Builder, source: Value, nodes: Sequence[Node]
) -> tuple[list[Step], dict[Value, int]]:
    """The nodes as steps of a Composite of `source`, and the place of each value in them."""
    steps, places = list[Step](), {source: 0}
    for node in nodes:
        operands = [places[v] for v in node.inputs if build.array(v) is None]
        numbers = [_number(a) for v in node.inputs if (a := build.array(v)) is not None]
        places[node.output] = _append(steps, node, operands, [n for n in numbers if n is not None])
    return steps, places


def _append(steps: list[Step], node: Node, operands: list[int], numbers: list[float]) -> int:
    """Append the node's steps, and return the place of its result."""
    match node.op:
        case Unary(function, parameter):
            steps.append(Step(Operation.FUNCTION, tuple(operands), (parameter,), function))
        case Composite(inner):
            base, given = len(steps), operands[0]
            for each in inner:
                moved = tuple(given if i == 0 else base + i for i in each.operands)
                steps.append(Step(each.operation, moved, each.numbers, each.function))
        case Affine():
            steps.append(Step(Operation.AFFINE, tuple(operands), tuple(numbers)))
        case Clamp(low, high):
            return _clamped(steps, operands[0], low, high)
        case Add():
            steps.append(Step(Operation.ADD, tuple(operands)))
        case Multiply():
            steps.append(Step(Operation.MULTIPLY, tuple(operands)))
        case op:
            raise TypeError(f"{op.name} is no step of a Composite")
    return len(steps)


def _clamped(steps: list[Step], place: int, low: float | None, high: float | None) -> int:
    if low is not None:
        steps.append(Step(Operation.LOWER_BOUND, (place,), (low,)))
        place = len(steps)
    if high is not None:
        steps.append(Step(Operation.UPPER_BOUND, (place,), (high,)))
        place = len(steps)
    return place


def _number(array: Array) -> float | None:
    """The number that an array holds everywhere; None if there is no such finite number."""
    first = float(array.reshape(-1)[0]) if array.size else np.nan
    return first if np.isfinite(first) and bool((array == first).all()) else None
