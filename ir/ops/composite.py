"""A function of one number, written as a small program: several ops in a row are one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from qbnnc.ir.ops.base import expect_count, expect_reals
from qbnnc.ir.ops.functions import Float64, Function
from qbnnc.ir.ops.unary import Pointwise
from qbnnc.ir.types import DType, TensorType
from qbnnc.ir.validity import check_finite
from qbnnc.support import limits


class Operation(Enum):
    """The result of a step, from its operands a, b, c and its numbers."""

    FUNCTION = "function"  # f(a), with one parameter
    AFFINE = "affine"  # a * scale + shift
    LOWER_BOUND = "lower_bound"  # max(a, number)
    UPPER_BOUND = "upper_bound"  # min(a, number)
    ADD = "add"  # a + b
    MULTIPLY = "multiply"  # a * b
    WHERE = "where"  # b if a is not 0, else c


_ARITY = {Operation.ADD: 2, Operation.MULTIPLY: 2, Operation.WHERE: 3}  # of any other: 1
_NUMBERS = {
    Operation.FUNCTION: 1,
    Operation.AFFINE: 2,
    Operation.LOWER_BOUND: 1,
    Operation.UPPER_BOUND: 1,
}  # of any other: 0


@dataclass(frozen=True, slots=True)
class Step:
    """One value of a Composite. Operand 0 is its input x, operand i the result of step i."""

    operation: Operation
    operands: tuple[int, ...]
    numbers: tuple[float, ...] = ()
    function: Function | None = None

    def check(self, place: int) -> None:
        """ValueError unless step `place` (1 is the first) is well formed."""
        if len(self.operands) != _ARITY.get(self.operation, 1):
            raise ValueError(f"step {place} has {len(self.operands)} operands")
        if not all(0 <= operand < place for operand in self.operands):
            raise ValueError(f"step {place} reads what is not computed before it")
        if len(self.numbers) != _NUMBERS.get(self.operation, 0):
            raise ValueError(f"step {place} has {len(self.numbers)} numbers")
        check_finite(f"step {place}: the number", *self.numbers)
        if (self.function is None) == (self.operation is Operation.FUNCTION):
            raise ValueError(f"step {place} needs a function, or has one too many")

    def apply(self, a: Float64, *more: Float64) -> Float64:
        """The step's result from its operands."""
        match self.operation, self.numbers, more:
            case Operation.FUNCTION, (parameter,), () if self.function is not None:
                return self.function(a, parameter)
            case Operation.AFFINE, (scale, shift), ():
                return a * scale + shift
            case Operation.LOWER_BOUND, (bound,), ():
                return np.maximum(a, bound)
            case Operation.UPPER_BOUND, (bound,), ():
                return np.minimum(a, bound)
            case Operation.ADD, (), (b,):
                return a + b
            case Operation.MULTIPLY, (), (b,):
                return a * b
            case Operation.WHERE, (), (b, c):
                chosen: Float64 = np.where(a != 0, b, c)
                return chosen
        raise ValueError(f"{self} is no step")


@dataclass(frozen=True, slots=True)
class Composite(Pointwise):
    """The last of `steps`, all of them in float64, rounded once to float32."""

    steps: tuple[Step, ...]

    def infer(self, *inputs: TensorType) -> TensorType:
        expect_count(inputs, 1)
        expect_reals(inputs[0])
        limits.STEPS.check(len(self.steps))
        for place, step in enumerate(self.steps, start=1):
            step.check(place)
        return TensorType(DType.F32, inputs[0].shape, inputs[0].axes)

    def real(self, x: Float64) -> Float64:
        last_use = {operand: i for i, step in enumerate(self.steps) for operand in step.operands}
        values = {0: x}
        with np.errstate(all="ignore"):
            for i, step in enumerate(self.steps):
                values[i + 1] = step.apply(*(values[operand] for operand in step.operands))
                for operand in {*step.operands}:
                    if last_use[operand] == i:
                        del values[operand]
        return values[len(self.steps)]
