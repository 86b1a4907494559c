"""Contractions: products of two tensors, summed over some axes (einsum, matmul).

Each axis has a letter. The letters of x are of three kinds beside a constant W. A contracted letter
is in W and not in the result. A grouped letter is in W and in the result. A position is in the
result, and not in W. A letter in W and in the result alone is new.

The product is a convolution of [groups*contracted, positions] with kernels of one position. If only
the last axis is contracted, it is a linear layer. Two tensors computed from the input are matrices.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TypeAlias

import torch
from torch import Tensor

from qbnnc.frontend.convert.call import Call
from qbnnc.frontend.convert.ops.affine import affine
from qbnnc.frontend.convert.ops.reductions import averaged
from qbnnc.frontend.convert.ops.shapes import reshaped, step
from qbnnc.frontend.convert.sampled_weights.weights import Weight
from qbnnc.frontend.convert.tracked import Activation, Product, Tracked
from qbnnc.ir.graph import Value
from qbnnc.ir.ops import Conv2d, MatMul, Multiply, Transpose
from qbnnc.ir.ops.matmul import MOST_LEADING

Letters: TypeAlias = str


def with_constant(
    call: Call, x: Value, of_x: Letters, w: Weight, of_w: Letters, out: Letters
) -> Tracked:
    """The product of x with a constant, as the letters `out`; no letters include the batch."""
    extents = dict(zip(of_x, x.type.shape, strict=True)) | _long(of_w, w)
    w, of_w = _summed(call, w, of_w, of_x + out)
    dropped = [c for c in of_x if c not in of_w and c not in out]
    w, of_w = _repeated(w, of_w, dropped, extents)
    grouped = [c for c in out if c in of_x and c in of_w]
    contracted = [c for c in of_x if c in of_w and c not in out]
    positions = [c for c in out if c in of_x and c not in of_w]
    new = [c for c in out if c not in of_x]
    if of_x == "".join(positions + contracted) and out == "".join(positions + new):
        matrix = _matrix(w, of_w, [new, contracted], extents)
        return _linear(call, x, matrix, len(positions), [extents[c] for c in new])
    if not contracted and not new and not w.is_random:
        turned = _ordered(call, x, of_x, out)
        axes = [out.index(c) for c in of_w]
        scale = w.mu.permute(*sorted(range(len(axes)), key=axes.__getitem__)).to(torch.float64)
        shape = [extents[c] if c in of_w else 1 for c in out]
        return affine(call, Activation(turned), scale=scale.reshape(shape))
    return Activation(
        _convolved(call, x, of_x, w, of_w, (grouped, contracted, positions, new), out)
    )


def _linear(call: Call, x: Value, matrix: Weight, kept: int, new: Sequence[int]) -> Tracked:
    """A linear layer over all axes behind the first `kept`."""
    shape = x.type.shape
    flat = reshaped(call, x, (*shape[:kept], prod(shape[kept:])), "flat")
    product = Product(flat, matrix, call.place("linear"))
    if len(new) == 1:
        return product
    return Activation(
        reshaped(call, call.context.value(product, call), (*shape[:kept], *new), "axes")
    )


def _convolved(
    call: Call, x: Value, of_x: Letters, w: Weight, of_w: Letters, kinds: tuple[list[str], ...],
    out: Letters,
) -> Value:  # fmt: skip
    grouped, contracted, positions, new = kinds
    extents = dict(zip(of_x, x.type.shape, strict=True)) | _long(of_w, w)
    groups, inner, made = (prod(extents[c] for c in kind) for kind in (grouped, contracted, new))
    space = [extents[c] for c in positions]
    height, width = (space[0], space[1]) if len(space) == 2 else (1, prod(space))
    turned = _ordered(call, x, of_x, "".join(grouped + contracted + positions))
    image = reshaped(call, turned, (groups * inner, height, width), "image")
    kernels = _matrix(w, of_w, [grouped + new, contracted], extents)
    kernels = kernels.moved(lambda t: t.reshape(*t.shape, 1, 1))
    y = call.layer(Conv2d(groups=groups), image, kernels, None)
    letters = "".join(grouped + new + positions)
    whole = reshaped(call, y, tuple(extents[c] for c in letters), "axes")
    assert made * groups == y.type.shape[0]
    return _ordered(call, whole, letters, out)


def of_activations(
    call: Call, a: tuple[Value, Letters], b: tuple[Value, Letters], out: Letters
) -> Activation:
    """The product of two tensors computed from the input, as the letters `out`."""
    (x, of_x), (y, of_y) = (
        _without(call, *own, keep=out + other[1]) for own, other in ((a, b), (b, a))
    )
    if {*of_x, *of_y} == {*out}:
        factors = (_spread(call, v, own, out) for v, own in ((x, of_x), (y, of_y)))
        return Activation(step(call, "", Multiply(), *factors))
    return Activation(_matrices(call, (x, of_x), (y, of_y), out))


def _without(call: Call, x: Value, own: Letters, keep: Letters) -> tuple[Value, Letters]:
    """x summed over the letters that nothing else has."""
    left = "".join(c for c in own if c in keep)
    if all(x.type.shape[axis] == 1 for axis, c in enumerate(own) if c not in keep):
        shape = tuple(n for n, c in zip(x.type.shape, own, strict=True) if c in keep)
        return reshaped(call, x, shape, "left"), left
    return summed(call, x, own, left), left


def _matrices(
    call: Call, a: tuple[Value, Letters], b: tuple[Value, Letters], out: Letters
) -> Value:
    """The product of two tensors as matrices: [pairs, rows, inner] and [pairs, inner, columns].

    The second one is [pairs, columns, inner] where its axes lie so, or in any other order.
    """
    (x, of_x), (y, of_y) = a, b
    pairs = "".join(c for c in out if c in of_x and c in of_y)
    inner = "".join(c for c in of_x if c in of_y and c not in out)
    rows = "".join(c for c in out if c in of_x and c not in of_y)
    columns = "".join(c for c in out if c in of_y and c not in of_x)
    transposed = of_y != pairs + inner + columns
    left = _matrix_of(call, x, of_x, (pairs, rows, inner))
    right = _matrix_of(
        call, y, of_y, (pairs, *((columns, inner) if transposed else (inner, columns)))
    )
    product = step(call, "", MatMul(transposed), left, right)
    extents = dict(zip(of_x + of_y, (*x.type.shape, *y.type.shape), strict=True))
    letters = pairs + rows + columns
    whole = reshaped(call, product, tuple(extents[c] for c in letters), "axes")
    return _ordered(call, whole, letters, out)


def _matrix_of(call: Call, x: Value, own: Letters, kinds: tuple[Letters, ...]) -> Value:
    """x as matrices: up to two axes for the first kind of letters, one for either other kind."""
    turned = _ordered(call, x, own, "".join(kinds))
    extents = dict(zip(own, x.type.shape, strict=True))
    pairs, first, second = ([extents[c] for c in kind] for kind in kinds)
    outer = pairs if len(pairs) <= MOST_LEADING else [prod(pairs)]
    return reshaped(call, turned, (*outer, prod(first), prod(second)), "matrix")


def summed(call: Call, x: Value, letters: Letters, out: Letters) -> Value:
    """x summed over the letters that are not in `out`; the others have the order of `out`."""
    axes = [axis for axis, c in enumerate(letters) if c not in out]
    kept = "".join(c for c in letters if c in out)
    if axes:
        extents = tuple(n for axis, n in enumerate(x.type.shape) if axis not in axes)
        x = reshaped(call, averaged(call, x, axes, divisor=1.0), extents, "flat")
    return _ordered(call, x, kept, out)


def _spread(call: Call, x: Value, own: Letters, letters: Letters) -> Value:
    """x with its axes in the order of `letters`, and axes of 1 for the letters that it lacks."""
    extents = dict(zip(own, x.type.shape, strict=True))
    turned = _ordered(call, x, own, "".join(c for c in letters if c in own))
    return reshaped(call, turned, tuple(extents.get(c, 1) for c in letters), "spread")


def _ordered(call: Call, x: Value, own: Letters, wanted: Letters) -> Value:
    """x with its axes in another order; a reshape if only axes of 1 move."""
    order = [own.index(c) for c in wanted]
    long = [axis for axis in order if x.type.shape[axis] > 1]
    if long == sorted(long):
        return reshaped(call, x, tuple(x.type.shape[axis] for axis in order), "turned")
    return step(call, "turned", Transpose(tuple(order)), x)


def _long(letters: Letters, w: Weight) -> dict[str, int]:
    return dict(zip(letters, w.shape, strict=True))


def _summed(call: Call, w: Weight, of_w: Letters, read: Letters) -> tuple[Weight, Letters]:
    """The constant, summed over the letters that nothing else has."""
    alone = [c for c in of_w if c not in read]
    axes = [of_w.index(c) for c in alone]
    kept = "".join(c for c in of_w if c in read)
    if not alone:
        return w, of_w
    if all(w.shape[axis] == 1 for axis in axes):
        shape = [n for axis, n in enumerate(w.shape) if axis not in axes]
        return w.moved(lambda t: t.reshape(shape)), kept
    if w.is_random:
        call.fail("sums a sampled weight over an axis", "draw a smaller one")
    return Weight(w.mu.sum(axes)), kept


def _repeated(
    w: Weight, of_w: Letters, more: Sequence[str], extents: dict[str, int]
) -> tuple[Weight, Letters]:
    """The constant repeated along letters that it lacks, so that x is summed over them."""
    shape = [*w.shape, *(extents[c] for c in more)]

    def repeat(t: Tensor) -> Tensor:
        return t.reshape(*w.shape, *[1] * len(more)).expand(shape)

    return (w.moved(repeat) if more else w), of_w + "".join(more)


def _matrix(
    w: Weight, of_w: Letters, kinds: Sequence[Sequence[str]], extents: dict[str, int]
) -> Weight:
    """The constant as a matrix whose rows and columns are each the letters of one kind."""
    order = [of_w.index(c) for kind in kinds for c in kind]
    shape = [prod(extents[c] for c in kind) for kind in kinds]
    return w.moved(lambda t: t.permute(*order).reshape(shape) if order else t.reshape(shape))
