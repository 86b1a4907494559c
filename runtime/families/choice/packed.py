"""Chosen weights and biases in the layouts that layers read: all constants are packed at load."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.graph import Node, Value
from qbnnc.ir.ops import Choice
from qbnnc.ir.types import Array
from qbnnc.runtime.families.choice.instructions import Choose
from qbnnc.runtime.lowering import Lowering
from qbnnc.runtime.packing import Layout, offline_terms
from qbnnc.runtime.program import Buffer


def chosen(lowering: Lowering, node: Node, layout: Layout, output: Buffer) -> Choose:
    """Return the instruction that chooses a weight or bias in a layout."""
    values = lowering.constant(node, 0, "set of values")
    packed = np.empty((len(values), layout.size), values.dtype)
    for line, value in zip(packed, values, strict=True):
        line[:] = layout.pack(layout.rows(value))
    return choose(lowering, node, output, packed)


def choose(lowering: Lowering, node: Node, output: Buffer, values: Array) -> Choose:
    """Return the instruction that copies one of `values` [count, ...], by the node's index."""
    return Choose(
        output=output,
        index=lowering.buffer(node, 1),
        members=lowering.constants.add(values),
        count=len(values),
        size=values.nbytes // len(values),
    )


def sums_of_choices(
    lowering: Lowering, layer: Node, weight_zero: Array, input_zero: int
) -> tuple[Node, NDArray[np.int32]] | None:
    """Return (the weight's Choice, the folded bias [count, channels] of each of its constants).

    The bias is a constant, or chosen by the same number. None for other weights and biases.
    """
    _, weight, bias = layer.inputs
    choice, of_bias = (_choice_of(lowering, value) for value in (weight, bias))
    if choice is None or (of_bias is not None and of_bias.inputs[1] is not choice.inputs[1]):
        return None
    biases = lowering.graph.constants.get(bias if of_bias is None else of_bias.inputs[0])
    if biases is None:
        return None
    values = lowering.constant(choice, 0, "set of values")
    terms = [offline_terms(weight.type.shape, v, weight_zero, input_zero) for v in values]
    return choice, np.stack(terms) + biases


def _choice_of(lowering: Lowering, value: Value) -> Node | None:
    """Return the Choice that makes `value`; None if another op does."""
    node = lowering.producer(value)
    return node if node is not None and isinstance(node.op, Choice) else None
