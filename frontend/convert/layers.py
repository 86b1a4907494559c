"""Linear layers, convolutions and batch normalisation, in every spelling aten has for them."""

from __future__ import annotations

import torch
from torch import Tensor

from qbnnc.frontend.convert.call import Call
from qbnnc.frontend.convert.rule import Rules
from qbnnc.frontend.convert.shapes import reshaped
from qbnnc.frontend.convert.values import Padded, Product, Row, Tracked
from qbnnc.ir.graph import Value
from qbnnc.ir.ops import BatchNorm, Conv2d, Linear

_Padding = tuple[int, int, int, int]


def linear(call: Call) -> Row:
    weight = call.fixed("weight")
    return _linear(call, _features(call, "input"), weight, call.fixed_or_none("bias"))


def addmm(call: Call) -> Row:
    """beta * self + alpha * (mat1 @ mat2)."""
    weight = call.fixed("mat2").t() * call.number("alpha")
    bias = (call.fixed("self") * call.number("beta")).expand(weight.shape[0])
    return _linear(call, _features(call, "mat1"), weight, bias)


def matmul(call: Call) -> Product:
    """x @ constant; a bias may be added to it later."""
    name = "mat2" if "mat2" in call.arguments else "other"
    x, weight = _features(call, "self"), call.fixed(name)
    if weight.ndim != 2:
        call.fail(f"multiplies by a tensor of shape {list(weight.shape)}; only matrices are read")
    return Product(x, weight.t(), call.place("linear"))


def conv2d(call: Call) -> Row:
    weight, stride = call.fixed("weight"), call.pair("stride")
    dilation = call.pair("dilation")
    kernel = (weight.shape[2], weight.shape[3])
    x, around = _input(call)
    padding = _padding(call, kernel, dilation)
    top, left, bottom, right = (p + q for p, q in zip(padding, around, strict=True))
    op = Conv2d(stride, (top, left, bottom, right), dilation, call.integer("groups"))
    return Row(call.emit(op, x, *_parameters(call, weight)))


def conv1d(call: Call) -> Row:
    """As conv2d over [C, 1, L] with a kernel one high."""
    weight = call.fixed("weight").unsqueeze(2)
    stride, dilation = call.pair("stride")[1], call.pair("dilation")[1]
    _, left, _, right = _padding(call, (1, weight.shape[3]), (1, dilation))
    x = call.row("input")
    channels, length = x.type.shape
    image = reshaped(call, x, (channels, 1, length), "image")
    op = Conv2d((1, stride), (0, left, 0, right), (1, dilation), call.integer("groups"))
    y = call.emit(op, image, *_parameters(call, weight))
    return Row(reshaped(call, y, (y.type.shape[0], y.type.shape[2]), "sequence"))


def convolution(call: Call) -> Row:
    """The op that all convolutions decompose into."""
    if call.flag("transposed"):
        call.fail("transposed convolutions are not supported; use a convolution")
    match call.fixed("weight").ndim:
        case 3:
            return conv1d(call)
        case 4:
            return conv2d(call)
        case rank:
            call.fail(f"convolutions over {rank - 2} axes are not supported; only 1 and 2 are")


def batch_norm(call: Call) -> tuple[Tracked, ...]:
    if call.flag("training") or call.arguments["running_mean"] is None:
        no_batch_statistics(call)
    x, mean = call.row("input"), call.fixed("running_mean")
    weight, bias = call.fixed_or_none("weight"), call.fixed_or_none("bias")
    constants = (
        call.constant("weight", torch.ones_like(mean) if weight is None else weight),
        call.constant("bias", torch.zeros_like(mean) if bias is None else bias),
        call.constant("mean", mean),
        call.constant("var", call.fixed("running_var")),
    )
    return (Row(call.emit(BatchNorm(call.number("eps")), x, *constants)),)


def whole_batch_norm(call: Call) -> Tracked:
    """Before decomposition the op has one result."""
    return batch_norm(call)[0]


def no_batch_statistics(call: Call) -> Tracked:
    call.fail(
        "normalises with the statistics of the batch, which a row's prediction must not depend "
        "on; call eval() on it (and do not set track_running_stats=False)"
    )


def _linear(call: Call, x: Value, weight: Tensor, bias: Tensor | None) -> Row:
    return Row(call.emit(Linear(), x, *_with_bias(call, weight, bias)))


def _parameters(call: Call, weight: Tensor) -> tuple[Value, Value]:
    return _with_bias(call, weight, call.fixed_or_none("bias"))


def _with_bias(call: Call, weight: Tensor, bias: Tensor | None) -> tuple[Value, Value]:
    bias = torch.zeros(weight.shape[0]) if bias is None else bias
    return call.constant("weight", weight), call.constant("bias", bias)


def _features(call: Call, name: str) -> Value:
    x = call.row(name)
    if len(x.type.shape) != 1:
        call.fail(f"takes rows of shape {list(x.type.shape)}; flatten to [batch, features] first")
    return x


def _input(call: Call) -> tuple[Value, _Padding]:
    """The input, and the zeros that a padding op put around it."""
    x = call.tracked("input")
    if isinstance(x, Padded):
        return x.x, x.padding
    value = call.row("input")
    if len(value.type.shape) != 3:
        call.fail(f"takes rows of shape {list(value.type.shape)}; only [channels, height, width]")
    return value, (0, 0, 0, 0)


def _padding(call: Call, kernel: tuple[int, int], dilation: tuple[int, int]) -> _Padding:
    """torch's "same" puts the odd zero after, not before."""
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
    "_native_batch_norm_legit": no_batch_statistics,
    "_native_batch_norm_legit_functional": no_batch_statistics,
    "_native_batch_norm_legit_no_training": batch_norm,
    "addmm": addmm,
    "batch_norm": whole_batch_norm,
    "conv1d": conv1d,
    "conv2d": conv2d,
    "convolution": convolution,
    "linear": linear,
    "matmul": matmul,
    "mm": matmul,
    "native_batch_norm": batch_norm,
}
