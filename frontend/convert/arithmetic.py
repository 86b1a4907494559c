"""Sums, differences, products and quotients with constants: preprocessing, scaling, residuals."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from qbnnc.frontend.convert.call import Call, number_of
from qbnnc.frontend.convert.dense import dense
from qbnnc.frontend.convert.flipout import flipped, is_signs, joined
from qbnnc.frontend.convert.parameters import Weight
from qbnnc.frontend.convert.powers import power
from qbnnc.frontend.convert.rule import Rules
from qbnnc.frontend.convert.shapes import broadcast, together
from qbnnc.frontend.convert.values import (
    Activation,
    Filled,
    Fixed,
    Keep,
    Masked,
    Noise,
    Perturbation,
    Product,
    Row,
    Tracked,
    Uniform,
)
from qbnnc.ir.graph import Value
from qbnnc.ir.ops import Add, Affine, Multiply

ONE, ZERO = torch.tensor(1.0, dtype=torch.float64), torch.tensor(0.0, dtype=torch.float64)


def multiply(call: Call) -> Tracked:
    _check_dtype(call)
    return product(call, operand(call, "self"), operand(call, "other"))


def _check_dtype(call: Call) -> None:
    """CompileError for integers that may wrap around."""
    dtype = call.node.meta["val"].dtype
    if dtype in (torch.uint8, torch.int8, torch.int16):
        call.fail(
            f"is integer arithmetic in {dtype}, which wraps around; convert to float first: "
            "x.float()"
        )


def product(call: Call, a: Tracked, b: Tracked) -> Tracked:
    """a * b."""
    if isinstance(a, Fixed | Keep | Noise) and not isinstance(b, Fixed):
        a, b = b, a
    match a, b:
        case ((Keep() | Masked()), Fixed(tensor)):
            number = number_of(tensor)
            if number is not None:
                return a.scaled(number)
            return affine(call, a, scale=tensor)
        case Uniform(), Fixed(tensor) if number := number_of(tensor):
            return a.scaled(number)
        case _, Fixed(tensor):
            return affine(call, a, scale=tensor)
        case Keep(), Keep():
            return a.times(b, call.shape())
        case ((Row() | Masked() | Product() | Perturbation()), Noise()) if is_signs(b):
            return flipped(call, a, b)
        case ((Row() | Masked() | Product()), Keep()):
            return call.scope.masked(call.scope.value(a, call), b, call)
        case _:
            return _product_of_rows(call, a, b)


def divide(call: Call) -> Tracked:
    if call.arguments.get("rounding_mode") is not None:
        call.fail("rounds the quotient; only true division is supported")
    return quotient(call, operand(call, "self"), operand(call, "other"))


def quotient(call: Call, a: Tracked, b: Tracked) -> Tracked:
    """a / b; by an activation it is a product with the reciprocal."""
    if isinstance(b, Activation):
        return product(call, a, Row(power(call, call.scope.value(b, call), -1.0, "reciprocal")))
    if not isinstance(b, Fixed):
        call.fail("divides by random numbers; only constants and activations are supported")
    if bool((b.tensor == 0).any()):
        call.fail("divides by zero; check the constant")
    number = number_of(b.tensor)
    if isinstance(a, Keep | Masked | Uniform) and number is not None:
        return a.scaled(1.0 / number)
    return affine(call, a, scale=ONE / b.tensor)


def add(call: Call) -> Tracked:
    _check_dtype(call)
    if call.node.meta["val"].dtype is torch.bool:
        call.fail("adds booleans, which torch takes as `or`; write a | b")
    return summed(call, operand(call, "self"), operand(call, "other"), call.number("alpha"))


def subtract(call: Call) -> Tracked:
    _check_dtype(call)
    return summed(call, operand(call, "self"), operand(call, "other"), -call.number("alpha"))


def subtract_from(call: Call) -> Tracked:
    """rsub: other - alpha * self."""
    _check_dtype(call)
    return summed(call, operand(call, "other"), operand(call, "self"), -call.number("alpha"))


def negate(call: Call) -> Tracked:
    x = operand(call, "self")
    if isinstance(x, Keep | Masked | Uniform):
        return x.scaled(-1.0)
    return affine(call, x, scale=-ONE)


def summed(call: Call, a: Tracked, b: Tracked, factor: float) -> Tracked:
    """a + factor * b."""
    match a, b:
        case Perturbation(), _ if factor == 1:
            return joined(call, b, a)
        case _, Perturbation() if factor in (-1, 1):
            return joined(call, a, b)
        case Uniform(), Fixed(tensor):
            number = number_of(tensor)
            offset = call.fail("shifts noise unevenly") if number is None else factor * number
            return replace(a, offset=a.offset + offset)
        case Fixed(tensor), Uniform():
            number = number_of(tensor)
            offset = call.fail("shifts noise unevenly") if number is None else number
            shifted = b.scaled(factor)
            return replace(shifted, offset=shifted.offset + offset)
        case Fixed(tensor), Keep(others=()) if _cancel(tensor, b.scale * factor):
            return b.inverted().scaled(-factor)  # c - c * mask
        case Keep(others=()), Fixed(tensor) if _cancel(tensor * factor, a.scale):
            return a.inverted().scaled(-1.0)  # c * mask - c
        case Product(), (Fixed() | Noise()) if _is_bias(a, b):
            return _biased(call, a, b, factor)
        case _, Fixed(tensor):
            return affine(call, a, shift=tensor * factor)
        case ((Fixed() | Noise()), Product()) if factor == 1 and _is_bias(b, a):
            return _biased(call, b, a, 1.0)
        case Fixed(tensor), _:
            return affine(call, b, scale=ONE * factor, shift=tensor)
        case _:
            return _sum_of_rows(call, a, b, factor)


def _cancel(constant: Tensor, scale: float) -> bool:
    """Whether a mask of 0 and `scale`, plus the constant, is 0 where it keeps and not elsewhere."""
    number = number_of(constant)
    return number is not None and number != 0 and abs(number + scale) <= 1e-6 * abs(scale)


def _product_of_rows(call: Call, a: Tracked, b: Tracked) -> Row:
    left, right = call.scope.value(a, call), call.scope.value(b, call)
    together(call, "multiplies", left, right)
    return Row(call.emit(Multiply(), left, right))


def _sum_of_rows(call: Call, a: Tracked, b: Tracked, factor: float) -> Row:
    left, right = call.scope.value(a, call), call.scope.value(b, call)
    shape = together(call, "adds", left, right)
    if factor != 1:
        right = _affine(call, right, ONE * factor, ZERO, f"{call.place().name}.scaled")
    whole = (broadcast(call, each, shape) for each in (left, right))
    return Row(call.emit(Add(), *whole))


def negated(call: Call, x: Value, suffix: str = "") -> Value:
    """-x, as a step of what a call becomes."""
    return _affine(call, x, -ONE, ZERO, f"{call.place().name}.{suffix}".removesuffix("."))


def _is_bias(product: Product, added: Fixed | Noise) -> bool:
    """One number for each output, the same for all rows."""
    if isinstance(added, Fixed):
        return added.tensor.shape == product.weight.shape[:1]
    return tuple(added.source.meta["val"].shape) == tuple(product.weight.shape[:1])


def _biased(call: Call, product: Product, bias: Fixed | Noise, factor: float) -> Row:
    """x @ weight.T + factor * bias written out is a Linear."""
    place, scope = product.place, call.scope
    own = Weight(bias.tensor) if isinstance(bias, Fixed) else call.probed(bias, "bias")
    return Row(dense(scope, place, product.x, product.weight, own.scaled(factor)))


def affine(call: Call, x: Tracked, *, scale: Tensor = ONE, shift: Tensor = ZERO) -> Row:
    """x * scale + shift; the constants are as torch broadcasts them against [B, *shape]."""
    return Row(_affine(call, call.scope.value(x, call), scale, shift, call.place().name))


def _affine(call: Call, x: Value, scale: Tensor, shift: Tensor, name: str) -> Value:
    constants = (
        call.scope.constant(f"{name}.{what}", _for_one_row(call, tensor, x.type.shape))
        for what, tensor in (("scale", scale), ("shift", shift))
    )
    return call.scope.build.emit(Affine(), x, *constants, loc=call.place().loc, name=name)


def _for_one_row(call: Call, constant: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The constant without its batch axis; CompileError unless it broadcasts to x's shape."""
    row = constant
    if constant.ndim == len(shape) + 1 and constant.shape[0] == 1:
        row = constant[0]
    wanted = (1,) * (len(shape) - row.ndim) + tuple(row.shape)
    if len(wanted) != len(shape) or any(
        c not in (1, n) for c, n in zip(wanted, shape, strict=True)
    ):
        call.fail(
            f"combines a constant of shape {list(constant.shape)} with rows of shape "
            f"{list(shape)}; a constant must broadcast to one row"
        )
    return row


def operand(call: Call, name: str) -> Tracked:
    """An argument, its numbers in float64."""
    match call.tracked(name):
        case Filled(_, number) if number is not None:
            return Fixed(torch.tensor(number, dtype=torch.float64))
        case Fixed(tensor):
            return Fixed(tensor.detach().to(torch.float64))
        case other:
            return other


RULES: Rules = {
    **dict.fromkeys("div divide true_divide".split(), divide),
    **dict.fromkeys("mul multiply".split(), multiply),
    **dict.fromkeys("neg negative".split(), negate),
    **dict.fromkeys("sub subtract".split(), subtract),
    "add": add,
    "rsub": subtract_from,
}
