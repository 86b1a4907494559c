"""The rules of `narrow` for layers and pooling: members are groups of channels, or positions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod

from qbnnc.frontend.members.blocks import Block
from qbnnc.frontend.members.narrow import Emitter, Need, Plan
from qbnnc.ir.graph import Node, Value
from qbnnc.ir.ops import AveragePool2d, Conv2d, Linear, MaxPool2d
from qbnnc.ir.types import Array


def linear(node: Node, block: Block, constants: Mapping[Value, Array]) -> Plan | None:
    """A linear layer with constant weights, of which the member has some outputs."""
    x, weight, bias = node.inputs
    if weight not in constants or bias not in constants:
        return None
    arrays = tuple(_outputs(constants[value], block) for value in (weight, bias))
    shape = block.shape(node.output.type.shape)

    def emit(emitter: Emitter, parts: tuple[Value, ...]) -> Value:
        return emitter.reshaped(_layer(emitter, Linear(), parts[0], node, arrays), shape)

    return Plan((Need(x),), emit)


def convolution(node: Node, block: Block, constants: Mapping[Value, Array]) -> Plan | None:
    """A convolution with constant weights: members are outputs, groups, or positions."""
    x, weight, bias = node.inputs
    op = node.op
    assert isinstance(op, Conv2d)
    if weight not in constants or bias not in constants:
        return None
    arrays = constants[weight], constants[bias]
    if block.axis > 0:
        if not _is_pointwise(op, weight.type.shape[2:], block.axis):
            return None
        return _windows(node, op, Need(x, block), block, arrays)
    arrays = _outputs(arrays[0], block), _outputs(arrays[1], block)
    if op.groups == 1:
        return _windows(node, op, Need(x), block, arrays)
    if block.before != 1 or op.groups % block.count:
        return None
    own = replace(op, groups=op.groups // block.count)
    channels = Block(0, 1, block.count, x.type.shape[0] // block.count, block.index)
    return _windows(node, own, Need(x, channels), block, arrays)


def pooled(node: Node, block: Block) -> Plan | None:
    """Pooling: members are channels, or positions that are not pooled."""
    op, x = node.op, node.inputs[0]
    assert isinstance(op, AveragePool2d | MaxPool2d)
    if block.axis > 0 and not _is_pointwise(op, op.kernel, block.axis):
        return None
    if isinstance(op, AveragePool2d) and len(op.divisors) > 1:
        return None
    return _windows(node, op, Need(x, block), block, ())


def _outputs(array: Array, block: Block) -> Array:
    return block.of(array).reshape(block.extent, *array.shape[1:])


def _is_pointwise(
    op: Conv2d | AveragePool2d | MaxPool2d, kernel: tuple[int, ...], axis: int
) -> bool:
    """Whether each position along an axis of the image is made of that position alone."""
    place = axis - 1
    padding = op.padding[place], op.padding[place + 2]
    return (kernel[place], op.stride[place], *padding) == (1, 1, 0, 0)


def _windows(
    node: Node,
    op: Conv2d | AveragePool2d | MaxPool2d,
    need: Need,
    block: Block,
    arrays: tuple[Array, ...],
) -> Plan:
    """The op on an image, which has three axes even where that of the members has vanished."""
    whole, shape = node.inputs[0].type.shape, block.shape(node.output.type.shape)
    image = whole if need.block is None else need.block.long(whole)

    def emit(emitter: Emitter, parts: tuple[Value, ...]) -> Value:
        y = _layer(emitter, op, emitter.reshaped(parts[0], image), node, arrays)
        return emitter.reshaped(y, shape)

    return Plan((need,), emit)


def _layer(
    emitter: Emitter,
    op: Linear | Conv2d | AveragePool2d | MaxPool2d,
    x: Value,
    node: Node,
    arrays: tuple[Array, ...],
) -> Value:
    """The op with these weights; a linear layer if its kernels cover the image."""
    if isinstance(op, Conv2d) and _covers(op, x.type.shape, arrays[0]):
        count = len(arrays[0])
        x, op = emitter.reshaped(x, (prod(x.type.shape),)), Linear()
        arrays = arrays[0].reshape(count, -1), arrays[1]
    constants = (
        emitter.build.constant(value.name, array)
        for value, array in zip(node.inputs[1:], arrays, strict=True)
    )
    return emitter.emit(op, x, *constants)


def _covers(op: Conv2d, shape: tuple[int, ...], weight: Array) -> bool:
    return op.groups == 1 and not any(op.padding) and weight.shape[2:] == shape[1:]
