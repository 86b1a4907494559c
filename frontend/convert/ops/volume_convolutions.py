"""conv3d and conv_transpose3d, in every spelling aten has for them."""

from __future__ import annotations

from math import prod

from torch import Tensor

from qbnnc.frontend.convert.call import Call
from qbnnc.frontend.convert.ops.shapes import reshaped, step
from qbnnc.frontend.convert.ops.volumes import Three, Windows, convolved, three, triple, volume
from qbnnc.frontend.convert.tracked import Activation
from qbnnc.ir.graph import Value
from qbnnc.ir.ops import Slice, Transpose


def conv3d(call: Call) -> Activation:
    x, weight, dilation = volume(call, "input"), call.weight("weight"), three(call, "dilation")
    kernel = triple(weight.shape[2:])
    before, after = _padding(call, kernel, dilation)
    windows = Windows(kernel, three(call, "stride"), before, after, dilation)
    bias, groups = call.weight_or_none("bias"), call.integer("groups")
    return Activation(convolved(call, x, weight, bias, windows, groups))


def conv_transpose3d(call: Call) -> Activation:
    """A convolution whose outputs are the `stride` phases of each place, which are interleaved.

    With places o = s*i + d*t - p of input i and tap t, phase r and place q of the result are
    o + p = s*q + r. It reads inputs q - m by the taps with d*t = s*m + r.
    """
    x, groups = volume(call, "input"), call.integer("groups")
    stride, padding = three(call, "stride"), three(call, "padding")
    weight, dilation = call.weight("weight"), three(call, "dilation")
    kernel = triple(d * (k - 1) + 1 for d, k in zip(dilation, weight.shape[2:], strict=True))
    taps = triple(-(-k // s) for k, s in zip(kernel, stride, strict=True))
    result, extents = triple(call.row_shape()[1:]), triple(x.type.shape[1:])
    firsts = triple(p // s for p, s in zip(padding, stride, strict=True))
    places = triple(
        (n + p - 1) // s + 1 - first
        for n, p, s, first in zip(result, padding, stride, firsts, strict=True)
    )
    before = triple(t - 1 - first for t, first in zip(taps, firsts, strict=True))
    after = triple(
        q - n - b + t - 1 for q, n, b, t in zip(places, extents, before, taps, strict=True)
    )
    phases, bias = prod(stride), call.weight_or_none("bias")
    own = weight.moved(lambda w: _phases(w, groups, stride, dilation, taps))
    repeated = None if bias is None else bias.moved(lambda b: b.repeat_interleave(phases))
    windows = Windows(taps, (1, 1, 1), before, after)
    y = convolved(call, x, own, repeated, windows, groups)
    skipped = triple(p % s for p, s in zip(padding, stride, strict=True))
    return Activation(_part(call, _interleaved(call, y, stride), skipped, result))


def _phases(w: Tensor, groups: int, stride: Three, dilation: Three, taps: Three) -> Tensor:
    """The weight [groups*I, O, k..] of a transposed convolution as [groups*O*phases, I, t..]."""
    total, outputs, *kernel = w.shape
    spread = [s * t for s, t in zip(stride, taps, strict=True)]
    whole = w.new_zeros(total, outputs, *spread)
    at = [slice(0, d * (k - 1) + 1, d) for d, k in zip(dilation, kernel, strict=True)]
    whole[:, :, at[0], at[1], at[2]] = w
    pairs = [n for t, s in zip(taps, stride, strict=True) for n in (t, s)]
    apart = whole.reshape(groups, total // groups, outputs, *pairs)
    turned = apart.permute(0, 2, 4, 6, 8, 1, 3, 5, 7).flip(6, 7, 8)
    return turned.reshape(-1, total // groups, *taps).contiguous()


def _interleaved(call: Call, y: Value, stride: Three) -> Value:
    """[O*phases, D, H, W] as [O, D*sd, H*sh, W*sw], one axis after the other."""
    outputs = y.type.shape[0] // prod(stride)
    extents = list(y.type.shape[1:])
    for axis, factor in enumerate(stride):
        if factor == 1:
            continue
        later = prod(stride[axis + 1 :])
        inner, outer = prod(extents[: axis + 1]), prod(extents[axis + 1 :])
        split = reshaped(call, y, (outputs, factor, later, inner, outer), "phases")
        turned = step(call, "turned", Transpose((0, 2, 3, 1, 4)), split)
        extents[axis] *= factor
        y = reshaped(call, turned, (outputs * later, *extents), "phase")
    return y


def _part(call: Call, y: Value, first: Three, extents: Three) -> Value:
    for axis, (start, count) in enumerate(zip(first, extents, strict=True), start=1):
        if (start, count) != (0, y.type.shape[axis]):
            y = step(call, "part", Slice(axis, start, start + count), y)
    return y


def _padding(call: Call, kernel: Three, dilation: Three) -> tuple[Three, Three]:
    """The zeros on each side; torch's "same" puts the odd zero after, not before."""
    match call.arguments["padding"]:
        case "valid":
            return (0, 0, 0), (0, 0, 0)
        case "same":
            total = triple(d * (k - 1) for k, d in zip(kernel, dilation, strict=True))
            before = triple(n // 2 for n in total)
            return before, triple(n - b for n, b in zip(total, before, strict=True))
        case _:
            around = three(call, "padding")
            return around, around
