"""Arithmetic: sums, differences, products and quotients of activations, masks and constants."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from qbnnc.frontend.convert import choices
from qbnnc.frontend.convert.call import Call, Rules, number_of
from qbnnc.frontend.convert.dropout_masks.mask_sums import added, blended, plus, shifted, times
from qbnnc.frontend.convert.ops.affine import ONE, ZERO, affine, affine_by
from qbnnc.frontend.convert.ops.linear import dense
from qbnnc.frontend.convert.ops.powers import power
from qbnnc.frontend.convert.ops.sampled_vectors import is_shared, scaled
from qbnnc.frontend.convert.ops.sampled_vectors import shifted as shifted_by_noise
from qbnnc.frontend.convert.ops.shapes import pairwise, together
from qbnnc.frontend.convert.sampled_weights.flipout import flipped, is_signs, joined
from qbnnc.frontend.convert.sampled_weights.weights import Weight
from qbnnc.frontend.convert.tracked import (
    Activation,
    AnyActivation,
    Chosen,
    Constant,
    DropoutMask,
    Filled,
    Masked,
    MaskSum,
    Noise,
    Perturbation,
    Product,
    Tracked,
    Uniform,
)
from qbnnc.ir.ops import Add, Multiply


def multiply(call: Call) -> Tracked:
    _check_dtype(call)
    return product(call, operand(call, "self"), operand(call, "other"))


def _check_dtype(call: Call) -> None:
    """Raise CompileError for integers that may wrap around."""
    dtype = call.node.meta["val"].dtype
    if dtype in (torch.uint8, torch.int8, torch.int16):
        call.fail(
            f"is integer arithmetic in {dtype}, which wraps around",
            "convert to float first: x.float()",
        )


def product(call: Call, a: Tracked, b: Tracked) -> Tracked:
    """a * b."""
    if isinstance(a, Chosen):
        return choices.product(call, b, a)
    if isinstance(b, Chosen):
        return choices.product(call, a, b)
    if isinstance(a, Constant | DropoutMask | MaskSum | Noise) and not isinstance(b, Constant):
        a, b = b, a
    match a, b:
        case ((DropoutMask() | MaskSum() | Masked()), Constant(tensor)):
            number = number_of(tensor)
            if number is not None:
                return a.scaled(number)
            return affine(call, a, scale=tensor)
        case Uniform(), Constant(tensor) if number := number_of(tensor):
            return a.scaled(number)
        case _, Constant(tensor):
            return affine(call, a, scale=tensor)
        case ((DropoutMask() | MaskSum()), (DropoutMask() | MaskSum())):
            return times(call, a, b)
        case ((Activation() | Masked() | Product() | Perturbation()), Noise()) if is_signs(b):
            return flipped(call, a, b)
        case ((Activation() | Masked() | Product()), (DropoutMask() | MaskSum())):
            return blended(call, call.context.value(a, call), b)
        case ((Activation() | Masked() | Product()), Noise()) if is_shared(call, b):
            return scaled(call, call.context.value(a, call), b)
        case _:
            return _product_of_rows(call, a, b)


def divide(call: Call) -> Tracked:
    if call.arguments.get("rounding_mode") is not None:
        call.fail("rounds the quotient", "only true division is supported")
    return quotient(call, operand(call, "self"), operand(call, "other"))


def quotient(call: Call, a: Tracked, b: Tracked) -> Tracked:
    """a / b; division by an activation is a product with its reciprocal."""
    if isinstance(b, Chosen):
        return choices.product(call, a, choices.inverse(b))
    if isinstance(b, AnyActivation):
        return product(
            call, a, Activation(power(call, call.context.value(b, call), -1.0, "reciprocal"))
        )
    if isinstance(b, Noise | Uniform):
        return quotient(call, a, Activation(call.context.value(b, call)))
    if not isinstance(b, Constant):
        call.fail("divides by a dropout mask, which is 0 in places", "multiply by it")
    if bool((b.tensor == 0).any()):
        call.fail("divides by zero", "check the constant")
    number = number_of(b.tensor)
    if isinstance(a, DropoutMask | MaskSum | Masked | Uniform) and number is not None:
        return a.scaled(1.0 / number)
    return affine(call, a, scale=ONE / b.tensor)


def add(call: Call) -> Tracked:
    _check_dtype(call)
    if call.node.meta["val"].dtype is torch.bool:
        call.fail("adds booleans, which torch takes as `or`", "write a | b")
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
    if isinstance(x, DropoutMask | MaskSum | Masked | Uniform):
        return x.scaled(-1.0)
    return affine(call, x, scale=-ONE)


def summed(call: Call, a: Tracked, b: Tracked, factor: float) -> Tracked:
    """a + factor * b."""
    if isinstance(b, Chosen):
        return choices.total(call, a, b, factor)
    if isinstance(a, Chosen):
        return choices.difference(call, a, b, factor)
    match a, b:
        case Perturbation(), _ if factor == 1:
            return joined(call, b, a)
        case _, Perturbation() if factor in (-1, 1):
            return joined(call, a, b)
        case Uniform(), Constant(tensor):
            number = number_of(tensor)
            offset = call.fail("shifts noise unevenly") if number is None else factor * number
            return replace(a, offset=a.offset + offset)
        case Constant(tensor), Uniform():
            number = number_of(tensor)
            offset = call.fail("shifts noise unevenly") if number is None else number
            turned = b.scaled(factor)
            return replace(turned, offset=turned.offset + offset)
        case Constant(tensor), (DropoutMask() | MaskSum()) if (
            number := number_of(tensor)
        ) is not None:
            return shifted(b.scaled(factor), number)  # c - c * mask is an inverted mask
        case ((DropoutMask() | MaskSum()), Constant(tensor)) if (
            number := number_of(tensor)
        ) is not None:
            return shifted(a, factor * number)
        case ((DropoutMask() | MaskSum()), (DropoutMask() | MaskSum())):
            return plus(a, b.scaled(factor), call.shape())
        case ((Activation() | Masked() | Product()), (DropoutMask() | MaskSum())):
            return _with_masks(call, a, b.scaled(factor))
        case ((DropoutMask() | MaskSum()), (Activation() | Masked() | Product())):
            scaled = b if factor == 1 else affine(call, b, scale=ONE * factor)
            return _with_masks(call, scaled, a)
        case Product(), (Constant() | Noise()) if _is_bias(a, b):
            return _biased(call, a, b, factor)
        case _, Constant(tensor):
            return affine(call, a, shift=tensor * factor)
        case ((Constant() | Noise()), Product()) if factor == 1 and _is_bias(b, a):
            return _biased(call, b, a, 1.0)
        case ((Activation() | Masked() | Product()), Noise()) if is_shared(call, b):
            value = call.context.value(a, call)
            return shifted_by_noise(call, value, b, of_x=1.0, of_noise=factor)
        case Noise(), (Activation() | Masked() | Product()) if is_shared(call, a):
            value = call.context.value(b, call)
            return shifted_by_noise(call, value, a, of_x=factor, of_noise=1.0)
        case Constant(tensor), _:
            return affine(call, b, scale=ONE * factor, shift=tensor)
        case _:
            return _sum_of_rows(call, a, b, factor)


def _with_masks(call: Call, x: AnyActivation, masks: DropoutMask | MaskSum) -> Activation:
    """Add masks to activations of their shape."""
    value = call.context.value(x, call)
    if len(masks.shape) > len(value.type.shape) + 1 or call.row_shape() != value.type.shape:
        call.fail("adds a mask that is larger than the activations", "expand those before")
    return added(call, value, masks)


def _product_of_rows(call: Call, a: Tracked, b: Tracked) -> Activation:
    left, right = call.context.value(a, call), call.context.value(b, call)
    together(call, "multiplies", left, right)
    return Activation(call.emit(Multiply(), left, right))


def _sum_of_rows(call: Call, a: Tracked, b: Tracked, factor: float) -> Activation:
    left, right = call.context.value(a, call), call.context.value(b, call)
    together(call, "adds", left, right)
    if factor != 1:
        right = affine_by(call, right, ONE * factor, ZERO, f"{call.place().name}.scaled")
    return pairwise(call, Add(), "adds", left, right)


def _is_bias(product: Product, added: Constant | Noise) -> bool:
    """Whether `added` holds one number for each output, the same for all rows."""
    if isinstance(added, Constant):
        return added.tensor.shape == product.weight.shape[:1]
    return added.shape == tuple(product.weight.shape[:1])


def _biased(call: Call, product: Product, bias: Constant | Noise, factor: float) -> Activation:
    """The Linear that x @ weight.T + factor * bias is."""
    place, context = product.place, call.context
    own = Weight(bias.tensor) if isinstance(bias, Constant) else call.probed(bias, "bias")
    return Activation(dense(context, place, product.x, product.weight, own.scaled(factor)))


def operand(call: Call, name: str) -> Tracked:
    """An argument of the call; a constant is in float64."""
    match call.tracked(name):
        case Filled(_, number) if number is not None:
            return Constant(torch.tensor(number, dtype=torch.float64))
        case Filled(row=Tensor() as row):
            return Constant(row.detach().to(torch.float64)[None])
        case Constant(tensor):
            return Constant(tensor.detach().to(torch.float64))
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
