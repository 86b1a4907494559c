"""Linear layers and convolutions: equation (2), rounded at once, with what follows in one step."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from qbnnc.backends.c import sampled
from qbnnc.backends.c.program import Buffer
from qbnnc.backends.c.scope import Form, Scope
from qbnnc.backends.c.values import Held, in_order, row_major, stored
from qbnnc.ir.graph import Node, Value
from qbnnc.ir.ops.base import codes_of
from qbnnc.ir.ops.dropout import Select
from qbnnc.ir.ops.integer import Conv2dInteger, LinearInteger
from qbnnc.ir.ops.pooling import MaxPool2d
from qbnnc.ir.ops.quantize import Dequantize, Requantize
from qbnnc.ir.ops.shape import Reshape
from qbnnc.ir.types import Array

_FEW = 8  # outputs, for which columns do not pay


@dataclass(frozen=True, slots=True)
class Geometry:
    """The window of a layer; a linear layer is a convolution of one position with one tap."""

    image: tuple[int, int, int]  # C, H, W
    output: tuple[int, int, int]
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    groups: int = 1

    @staticmethod
    def of(node: Node) -> Geometry:
        """The geometry of a layer."""
        x, y = node.inputs[0].type.shape, node.output.type.shape
        if not isinstance(node.op, Conv2dInteger):
            return Geometry((x[0], 1, 1), (y[0], 1, 1))
        op, kernel = node.op, node.inputs[1].type.shape[-2:]
        (c, h, w), (o, oh, ow) = x, y
        return Geometry(
            (c, h, w), (o, oh, ow), (kernel[0], kernel[1]), op.stride, op.dilation,
            op.padding[:2], op.groups,
        )  # fmt: skip

    @property
    def taps(self) -> int:
        """The inputs of one output."""
        return prod(self.kernel) * self.image[0] // self.groups

    @property
    def outputs(self) -> int:
        """The outputs of a group."""
        return self.output[0] // self.groups

    @property
    def depthwise(self) -> bool:
        return self.groups == self.image[0] == self.output[0] and self.groups > 1

    @property
    def gathered(self) -> int:
        """The codes of a patch that some processor has to gather; 0 if none has."""
        inside = not any(self.padding) and self.groups == 1 and self.dilation[1] == 1
        (c, h, w), (_, oh, ow) = self.image, self.output
        fits = all(
            (count - 1) * stride + (taps - 1) * dilation < size
            for count, stride, taps, dilation, size in zip(
                (oh, ow), self.stride, self.kernel, self.dilation, (h, w), strict=True
            )
        )
        words = self.kernel[1] * c % 4 == 0
        return 0 if inside and fits and words else self.taps

    def fields(self, x_zero: int, window: tuple[int, int]) -> list[object]:
        """The fields of a `qb_conv` after its arrays."""
        (c, h, w), (o, oh, ow) = self.image, self.output
        numbers = x_zero, h, w, c, o, self.groups, *self.kernel, *self.stride, *self.dilation
        return [*numbers, *self.padding, oh, ow, *window]


@dataclass(frozen=True, slots=True)
class End:
    """The fate of accumulators: the expression of its record, its place and its window."""

    record: str
    out: Held
    value: Value
    window: tuple[int, int] = (1, 1)


def emit(node: Node, scope: Scope) -> None:
    """Emit a layer, with the rounding and the maxima that follow it."""
    weight = scope.graph.constants.get(node.inputs[1])
    geometry = Geometry.of(node)
    end = _end(node, geometry, scope, pools=weight is None or not geometry.depthwise)
    if weight is None:
        sampled.emit(node, geometry, end, scope)
        return
    select = scope.masked_input(node)
    if select is not None:
        _emit_masked(node, geometry, end, select, weight, scope)
        return
    if isinstance(node.op, LinearInteger):
        _emit_linear(node, geometry, end, weight, scope)
        return
    phase, x = scope.phase(end.value), scope.held(node.inputs[0])
    offset = _offset(node, weight, scope)
    if geometry.depthwise:
        taps = weight.reshape(len(weight), -1).T
        record = _record(node, geometry, end, taps, weight, scope)
        acc = scope.scratch("int32_t", geometry.output[0])
        scope.step(phase, "qb_depthwise", record, offset, end.record, x, acc, end.out)
    else:
        ordered = _filled_up(weight.transpose(0, 2, 3, 1), geometry.taps)
        record = _record(node, geometry, end, ordered, weight, scope)
        pair = _by_fours(geometry.taps) + _by_fours(geometry.gathered) // 4
        copy = scope.scratch("int32_t", pair)
        acc = scope.scratch("int32_t", (3 if prod(end.window) > 1 else 2) * geometry.outputs)
        scope.step(phase, "qb_convolve", record, offset, end.record, x, copy, acc, end.out)


def _emit_linear(node: Node, geometry: Geometry, end: End, weight: Array, scope: Scope) -> None:
    phase, x = scope.phase(end.value), scope.held(node.inputs[0])
    offset = _offset(node, weight, scope)
    if x.image is not None:
        order = in_order(np.arange(weight.shape[1]).reshape(x.image)).reshape(-1)
        weight = weight[:, order]
    if len(weight) < _FEW or _weight_zeros(node, len(weight)).any() or not _sparse(node, scope):
        record = _record(node, geometry, end, weight, weight, scope)
        scope.step(phase, "qb_linear", record, offset, end.record, x, end.out)
        return
    record = _record(node, geometry, end, weight.T, weight, scope)
    acc = Buffer("int32_t", len(weight))
    scope.step(phase, "qb_linear_sums", record, offset, x, acc)
    scope.step(phase, "qb_finish", end.record, acc, len(weight), 0, 0, end.out)


def _sparse(node: Node, scope: Scope) -> bool:
    """Whether many inputs are zero, as they are behind a ReLU."""
    x = node.inputs[0]
    if codes_of(x.type).per_tensor[1] != 0:
        return False
    producer = scope.producers.get(x)
    while producer is not None and isinstance(producer.op, Select | MaxPool2d | Reshape):
        producer = scope.producers.get(producer.inputs[0])
    return producer is not None and isinstance(producer.op, Requantize)


def _by_fours(count: int) -> int:
    return -(-count // 4) * 4


def _filled_up(ordered: Array, taps: int) -> Array:
    """Weights with zeros at the end, where a step of four may read beyond the last filter."""
    return np.pad(ordered.reshape(-1), (0, -taps % 4))


def _record(
    node: Node, geometry: Geometry, end: End, ordered: Array, weight: Array, scope: Scope
) -> str:
    constants = scope.program.constants
    zeros = _weight_zeros(node, len(weight))
    wz = constants.array(zeros, "int32_t") if zeros.any() else "NULL"
    x_zero = codes_of(node.inputs[0].type).per_tensor[1]
    arrays = constants.array(ordered, "int8_t"), wz
    return scope.program.record("qb_conv", [*arrays, *geometry.fields(x_zero, end.window)])


def _weight_zeros(node: Node, outputs: int) -> Array:
    zeros = np.asarray(codes_of(node.inputs[1].type).zero_point, np.int32)
    return np.broadcast_to(zeros, (outputs,))


def _offset(node: Node, weight: Array, scope: Scope) -> Buffer | str:
    """The bias with the constant terms of equation (2): [O]."""
    assert isinstance(node.op, Conv2dInteger | LinearInteger)
    codes = weight.reshape(len(weight), -1).astype(np.int64)
    codes -= _weight_zeros(node, len(weight)).astype(np.int64)[:, None]
    zero = codes_of(node.inputs[0].type).per_tensor[1]
    terms = np.zeros(len(weight), np.int64) if node.op.folded else -zero * codes.sum(axis=1)
    bias = scope.graph.constants.get(node.inputs[2])
    if bias is not None:
        return scope.program.pointer(_wrapped(bias + terms), "int32_t")
    always = scope.program.members > 1  # members have the same steps
    plus = scope.program.pointer(_wrapped(terms), "int32_t") if always or terms.any() else "NULL"
    return sampled.bias(node.inputs[2], plus, scope)


def _wrapped(numbers: Array) -> Array:
    """The same numbers mod 2^32, as int32."""
    return (numbers.astype(np.int64) & 0xFFFFFFFF).astype(np.uint32).view(np.int32)


# ---- layers behind dropout


def _emit_masked(
    node: Node, geometry: Geometry, end: End, select: Node, weight: Array, scope: Scope
) -> None:
    x, keep = scope.held(select.inputs[0]), scope.held(select.inputs[1])
    phase, once = scope.phase(end.value), scope.phase(select.inputs[0])
    o, oh, ow = geometry.output
    offset = _offset(node, weight, scope)
    if isinstance(node.op, LinearInteger):
        record = _record(node, geometry, end, weight.T, weight, scope)
        sums, acc = Buffer("int32_t", o), Buffer("int32_t", o)
        scope.step(once, "qb_linear_sums", record, offset, x, sums)
        scope.step(phase, "qb_linear_masked", record, x, keep, sums, acc)
        scope.step(phase, "qb_finish", end.record, acc, o, 0, 0, end.out)
        return
    # Parts count codes from Z_x, and so the sums begin with what codes of Z_x give.
    channels, taps = geometry.image[0], prod(geometry.kernel)
    ordered = _filled_up(weight.transpose(1, 0, 2, 3), taps)
    record = _record(node, geometry, end, ordered, weight, scope)
    zero = codes_of(node.inputs[0].type).per_tensor[1]
    assert isinstance(node.op, Conv2dInteger)
    folded = zero * weight.astype(np.int64).sum(axis=(1, 2, 3)) if node.op.folded else 0
    bias = scope.graph.constants[node.inputs[2]]
    base = scope.program.pointer(_wrapped(bias + folded), "int32_t")
    sums, table = Buffer("int32_t", o * oh * ow), channels * o * oh * ow
    scope.masked[node.output.name] = 4 * table
    # Two patches of 16 bits, and the codes of one.
    first, later = (Buffer("int16_t", 5 * _by_fours(taps) // 2) for _ in range(2))
    recomputed: tuple[Held | Buffer | str, ...] = x, "NULL", later
    if scope.forms.form(node.output.name) is Form.CACHED:
        recomputed = "NULL", Buffer("int32_t", table), "NULL"
    scope.step(once, "qb_conv_sums", record, base, x, first, sums, recomputed[1])
    dropped = Buffer("int32_t", channels)
    acc = Buffer("int32_t", (3 if prod(end.window) > 1 else 2) * o)
    arguments = record, end.record, keep, dropped, sums, *recomputed, acc, end.out
    scope.step(phase, "qb_conv_masked", *arguments)


# ---- what follows


def _end(node: Node, geometry: Geometry, scope: Scope, *, pools: bool) -> End:
    acc = node.output
    reader = scope.only_reader(acc)
    if reader is not None and isinstance(reader.op, Requantize):
        factors = scope.graph.constants[reader.inputs[1]].reshape(-1)
        if len(factors) in (1, geometry.output[0]):
            return _codes(reader, reader.op, factors, geometry, scope, pools=pools)
    if reader is not None and isinstance(reader.op, Dequantize):
        scope.done.add(reader)
        out = scope.make_real(reader.output)
        strides = _position_strides(row_major(acc.type.shape), geometry)
        scales = np.asarray(codes_of(acc.type).scale, np.float32)
        record = _end_record(scope, scales, "QB_REALS", (0, 0, 0), strides)
        return End(record, out, reader.output)
    out = scope.make(acc)
    strides = _position_strides(stored(acc.type.shape), geometry)
    nothing = np.ones(1, np.float32)
    return End(_end_record(scope, nothing, "QB_SUMS", (0, 0, 0), strides), out, acc)


def _codes(
    node: Node, op: Requantize, factors: Array, geometry: Geometry, scope: Scope, *, pools: bool
) -> End:
    scope.done.add(node)
    value, window = node.output, (1, 1)
    reader = scope.only_reader(value)
    if pools and reader is not None and isinstance(reader.op, MaxPool2d):
        pool = reader.op
        shape = (geometry.output[1] // pool.kernel[0], geometry.output[2] // pool.kernel[1])
        apart = pool.kernel == pool.stride and not any(pool.padding) and pool.dilation == (1, 1)
        if apart and reader.output.type.shape[1:] == shape:
            # A maximum commutes with a rounding, which is monotone: round one number a window.
            scope.done.add(reader)
            value, window = reader.output, pool.kernel
    strides = _position_strides(stored(value.type.shape), geometry)
    ends = op.quant.per_tensor[1], op.low, op.high
    record = _end_record(scope, factors, "QB_CODES", ends, strides)
    return End(record, scope.make(value), value, window)


def _end_record(
    scope: Scope, factors: Array, kind: str, ends: tuple[int, int, int], strides: tuple[int, int]
) -> str:
    name = scope.program.constants.array(factors, "float")
    return scope.program.record("qb_end", [name, int(len(factors) > 1), kind, *ends, *strides])


def _position_strides(strides: tuple[int, ...], geometry: Geometry) -> tuple[int, int]:
    """Strides of a position and of a channel."""
    if len(strides) == 1:
        return geometry.output[0], strides[0]
    return strides[2], strides[0]
