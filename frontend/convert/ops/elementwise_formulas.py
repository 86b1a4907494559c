"""Functions of one element that are written as formulas: several steps, rounded once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from qbnnc.frontend.convert.call import Call, Rule
from qbnnc.frontend.convert.tracked import Activation
from qbnnc.ir.graph import Value
from qbnnc.ir.ops import Composite, Function, Operation, Step, Unary

Formula: TypeAlias = "Callable[[Term], Term]"


@dataclass(frozen=True, slots=True, eq=False)
class Term:
    """The value of one step of a formula; `place` 0 is x, and `place` i the result of step i."""

    steps: list[Step]
    place: int = 0

    def step(
        self,
        operation: Operation,
        *more: Term,
        numbers: tuple[float, ...] = (),
        function: Function | None = None,
    ) -> Term:
        """One more step, with this term as its first operand."""
        operands = (self.place, *(term.place for term in more))
        self.steps.append(Step(operation, operands, numbers, function))
        return Term(self.steps, len(self.steps))

    def of(self, function: Function, parameter: float = 0.0) -> Term:
        return self.step(Operation.FUNCTION, numbers=(parameter,), function=function)

    def affine(self, scale: float, shift: float = 0.0) -> Term:
        return self.step(Operation.AFFINE, numbers=(scale, shift))

    def at_least(self, bound: float) -> Term:
        """max(term, bound)."""
        return self.step(Operation.LOWER_BOUND, numbers=(bound,))

    def at_most(self, bound: float) -> Term:
        """min(term, bound)."""
        return self.step(Operation.UPPER_BOUND, numbers=(bound,))

    def chosen(self, a: Term | float, b: Term | float) -> Term:
        """a if this term is not 0, else b; the value not chosen may be NaN or infinite."""
        terms = (each if isinstance(each, Term) else self.affine(0.0, each) for each in (a, b))
        return self.step(Operation.WHERE, *terms)

    def __add__(self, other: Term | float) -> Term:
        if isinstance(other, Term):
            return self.step(Operation.ADD, other)
        return self.affine(1.0, other)

    def __mul__(self, other: Term | float) -> Term:
        if isinstance(other, Term):
            return self.step(Operation.MULTIPLY, other)
        return self.affine(other)

    def __neg__(self) -> Term:
        return self.affine(-1.0)

    def __sub__(self, other: Term | float) -> Term:
        return self + -other


def formula(build: Formula) -> Rule:
    """The rule of a function without parameters."""
    return lambda call: computed(call, call.row("self"), build)


def computed(call: Call, x: Value, build: Formula) -> Activation:
    """The function of x that `build` writes down as steps."""
    steps: list[Step] = []
    last = build(Term(steps))
    if last.place != len(steps):
        raise ValueError("a formula ends in its last step")
    return Activation(emitted(call, x, steps))


def emitted(call: Call, x: Value, steps: list[Step]) -> Value:
    """The steps as one op; x itself if there are none."""
    match steps:
        case []:
            return x
        case [Step(function=Function() as function, numbers=(parameter,))]:
            return call.emit(Unary(function, parameter), x)
        case _:
            return call.emit(Composite(tuple(steps)), x)
