"""The weights and biases of layers: constant, sampled, chosen, or one of these under a mask.

A parameter is made in the layout that its layer reads. It has the order of memory only if something
else reads it.
"""

from __future__ import annotations

from qbnnc.ir.graph import Node, Value
from qbnnc.ir.ops import Choice, ContractionInteger, SampledWeightInteger, Select
from qbnnc.ir.types import Axis, DType
from qbnnc.runtime.families.choice.packed import chosen
from qbnnc.runtime.families.dropout.packed import dropped
from qbnnc.runtime.families.sampled_weights.packed import sampled
from qbnnc.runtime.layout import ALIGNMENT, round_up
from qbnnc.runtime.lowering import Lowering
from qbnnc.runtime.packing import Layout
from qbnnc.runtime.program import Buffer
from qbnnc.support.errors import CompileError


def operand(lowering: Lowering, node: Node, index: int, layout: Layout) -> Buffer:
    """Return the buffer of a layer's weight or bias; CompileError if rows have values of their own.

    It is a constant, or emitted here unless another layer reads it in this layout.
    """
    value = node.inputs[index]
    if Axis.ROW in value.type.axes:
        raise CompileError(
            f"{node.op.name}: the runtime takes weights and biases that all rows share, not "
            f"{value.type}",
            node.loc,
        )
    return _packed(lowering, node, value, layout)


def in_memory(lowering: Lowering, node: Node) -> None:
    """Emit a parameter in the order of memory if others read it than layers as their parameter."""
    value = node.output
    apart = all(_reads_packed(reader, value) for reader in lowering.readers(value))
    if lowering.is_output(value) or not apart:
        plain = Layout(value.type.shape, plain=True)
        lowering.buffers[value] = _packed(lowering, node, value, plain)


def _reads_packed(reader: Node, value: Value) -> bool:
    """Tell whether a reader asks for `value` in a layout: a layer, or a mask of its weights."""
    if isinstance(reader.op, ContractionInteger):
        return value is not reader.inputs[0]
    return isinstance(reader.op, Select) and value.type.dtype is not DType.U8


def _packed(lowering: Lowering, reader: Node, value: Value, layout: Layout) -> Buffer:
    """Return the buffer of a parameter in a layout; emit what is not there yet.

    Masks of masks are walked in a loop: a hostile graph may have thousands.
    """
    masks = list[Node]()
    while (value, layout) not in lowering.packed:
        node = lowering.producer(value)
        if node is None or not isinstance(node.op, Select):
            break
        masks.append(node)
        value = node.inputs[0]
    buffer = _whole(lowering, reader, value, layout)
    for node in reversed(masks):
        made = _new(lowering, node.output, layout)
        lowering.emit(node, dropped(lowering, node, buffer, layout, made))
        buffer = made
    return buffer


def _whole(lowering: Lowering, reader: Node, value: Value, layout: Layout) -> Buffer:
    """Return the buffer of a parameter that no mask makes, or that is there."""
    if (value, layout) in lowering.packed:
        return lowering.packed[value, layout]
    array = lowering.graph.constants.get(value)
    if array is not None:
        return lowering.constant_buffer(value.name, layout.pack(layout.rows(array)))
    node = lowering.producer(value)
    match None if node is None else node.op:
        case SampledWeightInteger() as op if node is not None:
            made = _new(lowering, value, layout)
            lowering.emit(node, sampled(lowering, node, op, layout, made))
            return made
        case Choice() if node is not None:
            made = _new(lowering, value, layout)
            lowering.emit(node, chosen(lowering, node, layout, made))
            return made
    raise CompileError(
        "the runtime takes weights that are constant, sampled or chosen from constants",
        reader.loc,
    )


def _new(lowering: Lowering, value: Value, layout: Layout) -> Buffer:
    stride = round_up(layout.size * value.type.dtype.numpy.itemsize, ALIGNMENT)
    buffer = lowering.packed[value, layout] = Buffer(value.name, stride, value.type.axes)
    return buffer
