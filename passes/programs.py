"""The program of one number that several elementwise ops are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from qbnnc.ir.graph import Node, Value
from qbnnc.ir.ops import Add, Clamp, Composite, Multiply, Operation, Step, Unary


def program_of(value: Value, root: Value, members: Mapping[Value, Node]) -> tuple[Step, ...]:
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
    """Steps so far; `operands` maps each value to the step that computes it, 0 is the root."""

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
        """A clamp; its bounds are float32."""
        both = (Operation.LOWER_BOUND, low), (Operation.UPPER_BOUND, high)
        for operation, bound in both:
            if bound is not None:
                x = self.step(operation, (x,), float(np.float32(bound)))
        return x

    def ending_with(self, value: Value) -> tuple[Step, ...]:
        """The steps; a value that an earlier one computes is computed by the last."""
        result = self.operands[value]
        if result == len(self.steps) and self.steps:
            return tuple(self.steps)
        return (*self.steps, Step(Operation.AFFINE, (result,), (1.0, 0.0)))
