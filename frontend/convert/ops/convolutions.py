"""Convolutions over one to three axes, and transposed ones, in every spelling of aten."""

from __future__ import annotations

from typing import NamedTuple

from qbnnc.frontend.convert.call import Call, Rules
from qbnnc.frontend.convert.images import Padded
from qbnnc.frontend.convert.ops.shapes import reshaped
from qbnnc.frontend.convert.ops.volume_convolutions import conv3d, conv_transpose3d
from qbnnc.frontend.convert.sampled_weights.flipout import perturbed
from qbnnc.frontend.convert.sampled_weights.weights import Weight
from qbnnc.frontend.convert.tracked import (
    Activation,
    Flipped,
    Tracked,
)
from qbnnc.ir.graph import Value
from qbnnc.ir.ops import Conv2d, InsertZeros, Slice

_Pair = tuple[int, int]
_Padding = tuple[int, int, int, int]


def conv2d(call: Call) -> Tracked:
    weight, bias = call.weight("weight"), call.weight_or_none("bias")
    match call.tracked("input"):
        case Padded(x, around):
            op = _conv2d(call, weight, around)
        case Flipped() as flipped if made := perturbed(
            call, _conv2d(call, weight), flipped, weight, bias
        ):
            return made
        case _:
            x, op = _image(call), _conv2d(call, weight)
    return Activation(call.layer(op, x, weight, bias))


def conv1d(call: Call) -> Activation:
    """A conv2d over [C, 1, L] with a kernel one high."""
    weight = call.weight("weight").moved(lambda w: w.unsqueeze(2))
    stride, dilation = call.pair("stride")[1], call.pair("dilation")[1]
    _, left, _, right = _padding(call, (1, weight.shape[3]), (1, dilation))
    op = Conv2d((1, stride), (0, left, 0, right), (1, dilation), call.integer("groups"))
    return _sequence(call, _layer(call, op, _as_image(call), weight))


def conv_transpose2d(call: Call) -> Activation:
    """Put zeros between the input's elements, then convolve with the flipped weight."""
    names = ("stride", "padding", "output_padding", "dilation")
    geometry = _Transposed(*(call.pair(name) for name in names))
    return Activation(_transposed(call, _image(call), call.weight("weight"), geometry))


def conv_transpose1d(call: Call) -> Activation:
    neutral = {"stride": 1, "padding": 0, "output_padding": 0, "dilation": 1}
    geometry = _Transposed(*((n, call.pair(name)[1]) for name, n in neutral.items()))
    weight = call.weight("weight").moved(lambda w: w.unsqueeze(2))
    return _sequence(call, _transposed(call, _as_image(call), weight, geometry))


def convolution(call: Call) -> Tracked:
    """The op that all convolutions decompose into."""
    match len(call.shape()), call.flag("transposed"):
        case 3, False:
            return conv1d(call)
        case 3, True:
            return conv_transpose1d(call)
        case 4, False:
            return conv2d(call)
        case 4, True:
            return conv_transpose2d(call)
        case 5, False:
            return conv3d(call)
        case 5, True:
            return conv_transpose3d(call)
        case rank, _:
            call.fail(f"convolutions over {rank - 2} axes are not supported", "only 1, 2 and 3 are")


def _conv2d(call: Call, weight: Weight, around: _Padding = (0, 0, 0, 0)) -> Conv2d:
    """The op; `around` are zeros that a padding op has put around its input."""
    dilation, kernel = call.pair("dilation"), (weight.shape[2], weight.shape[3])
    padding = _padding(call, kernel, dilation)
    top, left, bottom, right = (p + q for p, q in zip(padding, around, strict=True))
    groups = call.integer("groups")
    return Conv2d(call.pair("stride"), (top, left, bottom, right), dilation, groups)


class _Transposed(NamedTuple):
    """The arguments of a transposed convolution, for rows and columns."""

    stride: _Pair
    padding: _Pair
    added: _Pair
    dilation: _Pair


def _transposed(call: Call, x: Value, weight: Weight, geometry: _Transposed) -> Value:
    """The plain convolution pads by dilation*(k-1) - padding, plus `added` below and right."""
    place, groups = call.place(), call.integer("groups")
    stride, padding, added, dilation = geometry
    before = [d * (k - 1) - p for d, k, p in zip(dilation, weight.shape[2:], padding, strict=True)]
    after = [b + a for b, a in zip(before, added, strict=True)]
    if stride != (1, 1):
        spread, name = InsertZeros(stride), f"{place.name}.spread"
        x = call.context.build.emit(spread, x, loc=place.loc, name=name)
    for axis, (low, high) in enumerate(zip(before, after, strict=True), start=1):
        if low < 0 or high < 0:
            crop = Slice(axis, max(-low, 0), x.type.shape[axis] - max(-high, 0))
            x = call.context.build.emit(crop, x, loc=place.loc, name=f"{place.name}.crop")
    top, left, bottom, right = (max(n, 0) for n in (*before, *after))
    op = Conv2d((1, 1), (top, left, bottom, right), dilation, groups)
    return _layer(call, op, x, _flipped(weight, groups))


def _flipped(weight: Weight, groups: int) -> Weight:
    """The weight [groups*I, O, h, w] of a transposed convolution as that of a plain one."""
    total, outputs, height, width = weight.shape
    inner = (groups, total // groups, outputs, height, width)
    return weight.moved(
        lambda w: w.reshape(inner).transpose(1, 2).flip(3, 4).reshape(-1, *inner[1:2], *inner[3:])
    )


def _layer(call: Call, op: Conv2d, x: Value, weight: Weight) -> Value:
    return call.layer(op, x, weight, call.weight_or_none("bias"))


def _image(call: Call) -> Value:
    x = call.row("input")
    if len(x.type.shape) != 3:
        call.fail(f"takes rows of shape {list(x.type.shape)}", "only [channels, height, width]")
    return x


def _as_image(call: Call) -> Value:
    """[C, L] as [C, 1, L]."""
    x = call.row("input")
    if len(x.type.shape) != 2:
        call.fail(f"takes rows of shape {list(x.type.shape)}", "only [channels, length]")
    return reshaped(call, x, (x.type.shape[0], 1, x.type.shape[1]), "image")


def _sequence(call: Call, y: Value) -> Activation:
    return Activation(reshaped(call, y, (y.type.shape[0], y.type.shape[2]), "sequence"))


def _padding(call: Call, kernel: _Pair, dilation: _Pair) -> _Padding:
    """The zeros on each side; torch's "same" puts the odd zero after, not before."""
    match call.arguments["padding"]:
        case "valid":
            return 0, 0, 0, 0
        case "same":
            total = tuple(d * (k - 1) for k, d in zip(kernel, dilation, strict=True))
            top, left = total[0] // 2, total[1] // 2
            return top, left, total[0] - top, total[1] - left
        case _:
            rows, columns = call.pair("padding")
            return rows, columns, rows, columns


RULES: Rules = {
    "conv1d": conv1d,
    "conv2d": conv2d,
    "conv3d": conv3d,
    "conv_transpose1d": conv_transpose1d,
    "conv_transpose2d": conv_transpose2d,
    "conv_transpose3d": conv_transpose3d,
    "convolution": convolution,
}
