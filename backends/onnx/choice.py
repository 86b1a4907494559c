"""One of several constants, drawn for each sample (docs/semantics.md, section 5)."""

from __future__ import annotations

import numpy as np
import onnx_ir

from qbnnc.backends.onnx.chosen_layers import is_chosen_by_layer
from qbnnc.backends.onnx.scope import Scope, Write
from qbnnc.backends.onnx.splitmix64 import lane
from qbnnc.backends.onnx.streams import Stream
from qbnnc.backends.onnx.writer import Writer
from qbnnc.ir.graph import Node
from qbnnc.ir.ops import Choice, ChoiceIndex, Op
from qbnnc.support.table import Table

WRITERS = Table[type[Op], Write]()

_TO_INT32, _TO_UINT16 = int(onnx_ir.DataType.INT32), int(onnx_ir.DataType.UINT16)
_ALL_LANES = np.array(1 << 16, np.int32)


def write_indices(scope: Scope, group: list[Stream], words: onnx_ir.Value) -> None:
    """Write every ChoiceIndex of a group as a value of `scope`: floor(lane * count / 65536).

    `words` u64 [1, L, B or 1, indices]: each index takes the first lane of a word. Its product with
    the count is below 2^28.
    """
    writer, name = scope.writer, f"{scope.prefix}random/choice"
    counts = writer.constant(np.array([_count(s) for s in group], np.int32))
    product = writer.op("Mul", _first_lane(writer, words, name), counts, out=f"{name}/product")
    numbers = writer.op("Div", product, writer.constant(_ALL_LANES), out=f"{name}/numbers")
    each = [numbers]
    if len(group) > 1:
        names = [f"{scope.name(stream.output)}/number" for stream in group]
        each = writer.split(numbers, names, axis=3)
    for stream, number in zip(group, each, strict=True):
        scope.layout.merge(number, stream.op.shape, scope.result(stream.output))


def _first_lane(writer: Writer, words: onnx_ir.Value, name: str) -> onnx_ir.Value:
    if writer.inline:
        return lane(writer, words, 0, f"{name}/lane")
    low = writer.op("Cast", words, out=f"{name}/lane", to=_TO_UINT16)
    return writer.op("Cast", low, out=f"{name}/wide", to=_TO_INT32)


def _count(stream: Stream) -> int:
    assert isinstance(stream.op, ChoiceIndex)
    return stream.op.count


@WRITERS.of(Choice)
def choose(scope: Scope, node: Node, op: Choice) -> None:
    """values[index]: Gather along the first axis, which copies whole members.

    A linear layer chooses its weight itself, if nothing else reads that.
    """
    if is_chosen_by_layer(scope.graph, node):
        return
    writer, (values, index) = scope.writer, node.inputs
    numbers = writer.op(
        "Reshape", scope.stored(index), writer.ints(-1), out=f"{scope.name(index)}/flat"
    )
    chosen = scope.result(node.output)
    writer.op("Gather", scope.stored(values), numbers, out=chosen, axis=0)
