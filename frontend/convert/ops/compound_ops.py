"""Compound ops: sums of products in one call, and other functions of two values."""

from __future__ import annotations

import math

import torch

from qbnnc.frontend.convert.call import Call, Rules
from qbnnc.frontend.convert.ops.affine import affine
from qbnnc.frontend.convert.ops.arithmetic import operand, product, quotient, summed
from qbnnc.frontend.convert.ops.elementwise_formulas import computed
from qbnnc.frontend.convert.ops.graph_analysis import may_be_undefined
from qbnnc.frontend.convert.ops.shapes import step
from qbnnc.frontend.convert.ops.split_and_concat import part
from qbnnc.frontend.convert.tracked import Activation, AnyActivation, Constant, Tracked
from qbnnc.ir.ops import Function, Multiply, Unary


def lerp(call: Call) -> Tracked:
    """start + weight * (end - start)."""
    start, end, weight = (operand(call, name) for name in ("self", "end", "weight"))
    if isinstance(weight, Constant):
        kept = Constant(1 - weight.tensor)
        return summed(call, _scaled(call, start, kept), _scaled(call, end, weight), 1.0)
    if isinstance(start, Constant) and isinstance(end, Constant):
        return affine(call, weight, scale=end.tensor - start.tensor, shift=start.tensor)
    return summed(call, start, product(call, summed(call, end, start, -1.0), weight), 1.0)


def _scaled(call: Call, x: Tracked, factor: Constant) -> Tracked:
    return (
        Constant(x.tensor * factor.tensor) if isinstance(x, Constant) else product(call, x, factor)
    )


def addcmul(call: Call) -> Tracked:
    """self + value * tensor1 * tensor2."""
    a, b = operand(call, "tensor1"), operand(call, "tensor2")
    term = _scaled(call, a, b) if isinstance(b, Constant) else product(call, a, b)
    return _added(call, term)


def addcdiv(call: Call) -> Tracked:
    """self + value * tensor1 / tensor2."""
    a, b = operand(call, "tensor1"), operand(call, "tensor2")
    if isinstance(a, Constant) and isinstance(b, Constant):
        return _added(call, Constant(a.tensor / b.tensor))
    return _added(call, quotient(call, a, b))


def _added(call: Call, term: Tracked) -> Tracked:
    value = call.number("value")
    if isinstance(term, Constant):
        return summed(call, operand(call, "self"), Constant(term.tensor * value), 1.0)
    return summed(call, operand(call, "self"), term, value)


def logaddexp(call: Call) -> Tracked:
    return _log_of_sum(call, 1.0)


def logaddexp2(call: Call) -> Tracked:
    return _log_of_sum(call, math.log(2))


def _log_of_sum(call: Call, rate: float) -> Tracked:
    """log(e^a + e^b) = b + softplus(a - b), with `rate` as a factor inside and 1 / rate outside."""
    a, b = operand(call, "self"), operand(call, "other")
    if not isinstance(a, AnyActivation):
        a, b = b, a
    difference = call.context.value(summed(call, a, b, -1.0), call)
    above = computed(call, difference, lambda x: (x * rate).of(Function.SOFTPLUS) * (1 / rate))
    return summed(call, above, b, 1.0)


def xlogy(call: Call) -> Tracked:
    """x * log(number), or number * log(y)."""
    a, b = operand(call, "self"), operand(call, "other")
    if isinstance(b, Constant):
        return affine(call, a, scale=torch.log(b.tensor))
    if not isinstance(a, Constant) or bool((a.tensor == 0).any()):
        call.fail("is supported with a constant that is not 0 as one of the two")
    logarithm = step(call, "log", Unary(Function.LOG), call.context.value(b, call))
    return affine(call, Activation(logarithm), scale=a.tensor)


def ldexp(call: Call) -> Tracked:
    """self * 2 ** other."""
    powers = operand(call, "other")
    if not isinstance(powers, Constant):
        call.fail("scales by a power that depends on the input", "only constants are supported")
    return product(call, operand(call, "self"), Constant(torch.exp2(powers.tensor)))


def glu(call: Call) -> Activation:
    """The first half of an axis times the sigmoid of the second."""
    x = call.row("self")
    axis = call.integer("dim") % (len(x.type.shape) + 1)
    if axis == 0:
        call.fail("halves the batch", "give it the axis of the features or channels")
    half = x.type.shape[axis - 1] // 2
    values, gates = part(call, x, axis, 0, half), part(call, x, axis, half, 2 * half)
    gate = step(call, "gate", Unary(Function.SIGMOID), gates)
    return Activation(call.emit(Multiply(), values, gate))


def nan_to_num(call: Call) -> Tracked:
    """x itself; CompileError if an op before could give NaN or infinity."""
    x = call.row("self")
    if (function := may_be_undefined(call.context.build, x)) is not None:
        call.fail(
            f"replaces what {function} gives outside its domain, which is not supported",
            f"clamp the input of {function} instead",
        )
    return Activation(x)


def degrees(call: Call) -> Tracked:
    return affine(call, operand(call, "self"), scale=torch.tensor(180 / math.pi))


def radians(call: Call) -> Tracked:
    return affine(call, operand(call, "self"), scale=torch.tensor(math.pi / 180))


RULES: Rules = {
    "addcdiv": addcdiv,
    "addcmul": addcmul,
    "deg2rad": radians,
    "glu": glu,
    "ldexp": ldexp,
    "lerp": lerp,
    "logaddexp": logaddexp,
    "logaddexp2": logaddexp2,
    "nan_to_num": nan_to_num,
    "rad2deg": degrees,
    "special_xlogy": xlogy,
    "xlogy": xlogy,
}
