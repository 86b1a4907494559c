"""x * scale + shift with constants, as the rules emit it."""

from __future__ import annotations

import torch
from torch import Tensor

from qbnnc.frontend.convert.call import Call
from qbnnc.frontend.convert.constant_folding import are_equal
from qbnnc.frontend.convert.tracked import Activation, Tracked
from qbnnc.ir.graph import Value
from qbnnc.ir.ops import Affine, Gather

LEAST = torch.finfo(torch.float32).min  # stands for minus infinity, as graphs hold finite numbers
ONE, ZERO = torch.tensor(1.0, dtype=torch.float64), torch.tensor(0.0, dtype=torch.float64)


def negated(call: Call, x: Value, suffix: str = "") -> Value:
    """-x, as one step of a call."""
    return affine_by(call, x, -ONE, ZERO, f"{call.place().name}.{suffix}".removesuffix("."))


def affine_value(
    call: Call, x: Value, *, scale: float = 1.0, shift: float = 0.0, suffix: str
) -> Value:
    """x * scale + shift with numbers, as one step of a call."""
    name = f"{call.place().name}.{suffix}"
    return affine_by(call, x, ONE * scale, ONE * shift, name)


def affine(call: Call, x: Tracked, *, scale: Tensor = ONE, shift: Tensor = ZERO) -> Activation:
    """x * scale + shift; the constants have the shapes that torch broadcasts with [B, *shape]."""
    return Activation(affine_by(call, call.context.value(x, call), scale, shift, call.place().name))


def affine_by(call: Call, x: Value, scale: Tensor, shift: Tensor, name: str) -> Value:
    """x * scale + shift; minus infinity, which a softmax may read, becomes the least float32."""
    shift = finite_below(shift)
    x = _spread(call, x, (scale, shift))
    constants = (
        call.context.constant(f"{name}.{what}", _for_one_row(call, tensor, x.type.shape))
        for what, tensor in (("scale", scale), ("shift", shift))
    )
    return call.context.build.emit(Affine(), x, *constants, loc=call.place().loc, name=name)


def finite_below(shift: Tensor) -> Tensor:
    """The tensor with the least float32 in place of minus infinity, and of what is below it."""
    return shift.clamp(min=LEAST) if shift.is_floating_point() else shift


def _spread(call: Call, x: Value, constants: tuple[Tensor, ...]) -> Value:
    """x repeated along axes of 1 where constants have more, such as the centres of an RBF layer."""
    shape = x.type.shape
    for constant in constants:
        row = tuple(_row(constant, len(shape)).shape)
        if len(row) <= len(shape):
            row = (1,) * (len(shape) - len(row)) + row
            shape = tuple(c if n == 1 else n for n, c in zip(shape, row, strict=True))
    for axis, (have, want) in enumerate(zip(x.type.shape, shape, strict=True)):
        if have != want:
            place = call.place()
            op, name = Gather(axis, (0,) * want), f"{place.name}.broadcast"
            x = call.context.build.emit(op, x, loc=place.loc, name=name)
    return x


def _row(constant: Tensor, rank: int) -> Tensor:
    """The constant for one row; a static export repeats it for each row of its batch."""
    if constant.ndim == rank + 1 and are_equal(constant):
        return constant[0]
    return constant


def _for_one_row(call: Call, constant: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The constant without its batch axis; CompileError unless it broadcasts to the shape."""
    row = _row(constant, len(shape))
    wanted = (1,) * (len(shape) - row.ndim) + tuple(row.shape)
    if len(wanted) != len(shape) or any(
        c not in (1, n) for c, n in zip(wanted, shape, strict=True)
    ):
        call.fail(
            f"combines a constant of shape {list(constant.shape)} with rows of shape {list(shape)}",
            "a constant must broadcast to one row",
        )
    return row
