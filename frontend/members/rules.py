"""The rules of `narrow`: the parts of an op's inputs that make a part of its output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from qbnnc.frontend.members.blocks import Block
from qbnnc.frontend.members.layers import convolution, linear, pooled
from qbnnc.frontend.members.narrow import Emitter, Need, Plan, Rule
from qbnnc.ir.graph import Node, Value
from qbnnc.ir.ops import (
    Affine,
    AveragePool2d,
    BatchNorm,
    Clamp,
    Concat,
    Conv2d,
    Gather,
    InsertZeros,
    KeepMask,
    Linear,
    Mask,
    MatMul,
    MaxPool2d,
    Multiply,
    Normalize,
    Op,
    Pad,
    Pairwise,
    Pointwise,
    Reshape,
    ScaledSoftmax,
    Slice,
    Softmax,
    Transpose,
    UpsampleNearest,
)
from qbnnc.ir.types import Array


def rule_for(constants: Mapping[Value, Array]) -> Rule:
    """The rule of all ops of a graph with these constants."""

    def rule(node: Node, block: Block) -> Plan | None:
        match node.op:
            case Linear():
                return linear(node, block, constants)
            case Conv2d():
                return convolution(node, block, constants)
            case AveragePool2d() | MaxPool2d():
                return pooled(node, block)
            case BatchNorm():
                return _batch_norm(node, block, constants)
            case _:
                return _moved(node, block) or _paired(node, block)

    return rule


def _paired(node: Node, block: Block) -> Plan | None:
    """Ops on elements in the same places, or along other axes than that of the members."""
    rank = len(node.output.type.shape)
    match node.op:
        case Pointwise() | Clamp() | Pairwise() | Multiply() | Affine() | Mask():
            return _elementwise(node, block)
        case KeepMask() as op:
            narrow = replace(op, shape=block.shape(op.shape))
            return Plan((), lambda emitter, parts: emitter.emit(narrow))
        case Normalize(axes=axes) if block.axis < rank - axes:
            return _elementwise(node, block)
        case ScaledSoftmax() if block.axis < rank - 1:
            return _elementwise(node, block)
        case MatMul() if block.axis < rank - 2:
            needs = tuple(Need(value, block) for value in node.inputs)
            return Plan(needs, lambda emitter, parts: emitter.emit(node.op, *parts))
        case Softmax() as op if op.axis != block.axis:
            return _same(replace(op, axis=block.place(op.axis)), node, block)
        case _:
            return None


def _elementwise(node: Node, block: Block) -> Plan:
    """The op on the same blocks of its operands, of which constants and masks may broadcast."""
    needs = tuple(_broadcast(value, node.output, block) for value in node.inputs)
    return Plan(needs, lambda emitter, parts: _emit_paired(emitter, node, block, parts))


def _same(op: Op, node: Node, block: Block) -> Plan:
    """The op on the same block of its input."""
    needs = (Need(node.inputs[0], block),)
    return Plan(needs, lambda emitter, parts: emitter.emit(op, *parts))


def _broadcast(value: Value, output: Value, block: Block) -> Need:
    """The part of an operand; all of it if it has an axis of 1 there, or no such axis."""
    axis = block.axis - (len(output.type.shape) - len(value.type.shape))
    whole = axis < 0 or value.type.shape[axis] != output.type.shape[block.axis]
    return Need(value) if whole else Need(value, block.at(axis))


def _emit_paired(emitter: Emitter, node: Node, block: Block, parts: tuple[Value, ...]) -> Value:
    rank = len(node.output.type.shape)
    fitted = list[Value]()
    for value, part in zip(node.inputs, parts, strict=True):
        shape = value.type.shape
        axis = block.axis - (rank - len(shape))
        gone = axis >= 0 and block.vanishes and part.type.shape == shape and shape[axis] == 1
        short = (*shape[: max(axis, 0)], *shape[axis + 1 :])
        fitted.append(_without(emitter, part, short) if gone else part)
    return emitter.emit(node.op, *fitted)


def _without(emitter: Emitter, part: Value, shape: tuple[int, ...]) -> Value:
    """A value without the axis of 1 that has vanished from the others."""
    array = emitter.build.array(part)
    if array is None:
        return emitter.reshaped(part, shape)
    return emitter.build.constant(part.name, array.reshape(shape))


def _batch_norm(node: Node, block: Block, constants: Mapping[Value, Array]) -> Plan | None:
    """Over axis 0; as a scale and shift where that is the axis of the members."""
    x, *channels = node.inputs
    arrays = [constants.get(value) for value in channels]
    op = node.op
    assert isinstance(op, BatchNorm)
    if block.axis != 0:
        needs = (Need(x, block), *(Need(value) for value in channels))
        return Plan(needs, lambda emitter, parts: emitter.emit(op, *parts))
    known = [array for array in arrays if array is not None]
    if len(known) < len(arrays):
        return None
    weight, bias, mean, var = (block.of(array.astype(np.float64)) for array in known)
    scale = weight / np.sqrt(var + op.eps)
    shift = bias - mean * scale
    behind = [1] * (len(x.type.shape) - 1)

    def emit(emitter: Emitter, parts: tuple[Value, ...]) -> Value:
        row = (*scale.shape, *behind)
        both = (
            emitter.constant(f".{what}", array.reshape(row).astype(np.float32))
            for what, array in (("scale", scale), ("shift", shift))
        )
        return emitter.emit(Affine(), *parts, *both)

    return Plan((Need(x, block),), emit)


def _moved(node: Node, block: Block) -> Plan | None:
    """Ops that only move elements."""
    shape = node.output.type.shape
    match node.op:
        case Reshape():
            return _reshaped(node, block)
        case Transpose(permutation):
            inner = block.at(permutation[block.axis])
            order = [inner.place(axis) for axis in permutation]
            if block.vanishes:
                del order[block.axis]
            needs = (Need(node.inputs[0], inner),)
            return Plan(needs, lambda emitter, parts: emitter.transposed(parts[0], tuple(order)))
        case Gather(axis, indices) if axis == block.axis:
            return _picked(node, block, indices)
        case Slice(axis, start, stop, step) as op if axis == block.axis:
            extent = node.inputs[0].type.shape[axis]
            return _picked(node, block, range(*slice(start, stop, step).indices(extent)))
        case Gather() | Slice() as op:
            return _same(replace(op, axis=block.place(op.axis)), node, block)
        case Pad() | UpsampleNearest() | InsertZeros() as op if block.axis < len(shape) - 2:
            return _same(op, node, block)
        case Concat(axis) as op if axis != block.axis:
            parts_of_all = tuple(Need(value, block) for value in node.inputs)
            along = replace(op, axis=block.place(axis))
            return Plan(parts_of_all, lambda emitter, parts: emitter.emit(along, *parts))
        case Concat():
            return _from_one(node, block)
        case _:
            return None


def _reshaped(node: Node, block: Block) -> Plan | None:
    inner = block.under(node.output.type.shape, node.inputs[0].type.shape)
    if inner is None:
        return None
    shape = block.shape(node.output.type.shape)
    needs = (Need(node.inputs[0], inner),)
    return Plan(needs, lambda emitter, parts: emitter.reshaped(parts[0], shape))


def _picked(node: Node, block: Block, indices: Sequence[int]) -> Plan | None:
    """Elements `indices` along the axis of the block."""
    extent = node.inputs[0].type.shape[block.axis]
    places = np.arange(len(indices)).reshape(block.before, block.count, block.after)
    wanted = np.asarray(indices)[places[:, block.index].reshape(-1)]
    shape = block.shape(node.output.type.shape)
    if len(wanted) == 1 and extent > 1:
        one = Block(block.axis, 1, extent, 1, int(wanted[0]))
        return Plan((Need(node.inputs[0], one),), lambda emitter, parts: parts[0])
    if extent == 1:
        if not block.vanishes:
            return None
        needs = (Need(node.inputs[0]),)
        return Plan(needs, lambda emitter, parts: emitter.reshaped(parts[0], shape))
    count, first = extent // len(wanted), int(wanted[0])
    whole = extent % len(wanted) == 0 and first % len(wanted) == 0
    if whole and (wanted == first + np.arange(len(wanted))).all():
        run = Block(block.axis, 1, count, len(wanted), first // len(wanted))
        return Plan((Need(node.inputs[0], run),), lambda emitter, parts: parts[0])
    return None


def _from_one(node: Node, block: Block) -> Plan | None:
    """Concatenation along the axis of the members: a block of one of its inputs."""
    places = np.arange(node.output.type.shape[block.axis])
    wanted = places.reshape(block.before, block.count, block.after)[:, block.index].reshape(-1)
    start = 0
    for value in node.inputs:
        extent = value.type.shape[block.axis]
        inside = wanted - start
        if (inside >= 0).all() and (inside < extent).all():
            return _within(value, block, inside, extent)
        start += extent
    return None


def _within(value: Value, block: Block, inside: Array, extent: int) -> Plan | None:
    size = len(inside)
    if size == extent:
        shape = block.at(block.axis).shape((*value.type.shape,))
        return Plan((Need(value),), lambda emitter, parts: emitter.reshaped(parts[0], shape))
    first = int(inside[0])
    if extent % size or first % size or not (inside == first + np.arange(size)).all():
        return None
    part = Block(block.axis, 1, extent // size, size, first // size)
    return Plan((Need(value, part),), lambda emitter, parts: parts[0])
