"""The layers whose input is a value of the row times a dropout mask, and the units of the mask.

A layer is found from its input upwards, through ops that map zero points to zero points, to a
Select. Then the layer's input is the same ops on the unmasked value, times the same mask.

1. Reshapes come last, in front of a linear layer.
2. Clamps and tables keep a mask of elements or of channels, if they map Z to Z.
3. Pools keep a mask of channels: windows that hold Z alone give Z.
4. The Select's value varies with the row alone, and the layer's weight and bias are constant.
5. A unit is a channel [C, 1, 1], or an element if the mask has the value's shape. Elements in front
   of a convolution are declined, unless the convolution has one position with the whole image.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from qbnnc.ir.graph import Node, Value
from qbnnc.ir.ops import (
    ClampCodes,
    Conv2dInteger,
    KeepMask,
    LinearInteger,
    Lookup,
    MaxPool2d,
    Requantize,
    Reshape,
    Select,
    SumPoolInteger,
)
from qbnnc.ir.ops.base import codes_of
from qbnnc.ir.types import PER_ROW, Array
from qbnnc.runtime.lowering import Lowering


@dataclass(frozen=True, slots=True, eq=False)
class MaskedLayer:
    """A layer, and the mask that its input was multiplied with.

    `chain` are the nodes between the Select and the layer, in execution order. Units are parts of
    an image [C, H, W], which is the value in front of the chain's reshapes. `weight` is int8
    [filters, C, kernel height, kernel width], where the kernel slides as `geometry` says.
    `elements`: the units are the elements of the image, which the kernel covers.
    """

    node: Node
    chain: tuple[Node, ...]
    select: Node
    mask: KeepMask
    mask_node: Node
    image: Value
    shape: tuple[int, int, int]
    weight: Array
    geometry: Conv2dInteger
    elements: bool

    @property
    def units(self) -> int:
        """The number of units."""
        channels, height, width = self.shape
        return channels * height * width if self.elements else channels

    @property
    def input_zero(self) -> int:
        """The code Z of zero in the layer's input."""
        return codes_of(self.node.inputs[0].type).per_tensor[1]

    @property
    def output_shape(self) -> tuple[int, int, int]:
        """[filters, height, width] of the sums."""
        shape = self.node.output.type.shape
        return (shape[0], shape[1], shape[2]) if len(shape) == 3 else (shape[0], 1, 1)


def find(lowering: Lowering, node: Node) -> MaskedLayer | None:
    """Return a layer under a mask; None if `node` is none, or one that is computed directly."""
    op, constants = node.op, lowering.graph.constants
    if not isinstance(op, LinearInteger | Conv2dInteger) or any(
        value not in constants for value in node.inputs[1:]
    ):
        return None
    chain, select = _way_up(lowering, node.inputs[0])
    maker = None if select is None else lowering.producer(select.inputs[1])
    if select is None or maker is None or not isinstance(maker.op, KeepMask):
        return None
    x, mask = select.inputs[0], maker.op
    if x.type.axes != PER_ROW:
        return None
    image = next((n.inputs[0] for n in chain if isinstance(n.op, Reshape)), node.inputs[0])
    by_element, by_channel = _unit(x.type.shape, mask.shape)
    moved = [n for n in chain if isinstance(n.op, MaxPool2d | SumPoolInteger)]
    if not (by_element or by_channel) or (moved and not by_channel):
        return None
    found = _cut(node, op, image.type.shape, constants[node.inputs[1]], by_channel=by_channel)
    if found is None:
        return None
    shape, weight, geometry, elements = found
    return MaskedLayer(
        node, chain, select, mask, maker, image, shape, weight, geometry, elements
    )  # fmt: skip


def _unit(shape: tuple[int, ...], mask: tuple[int, ...]) -> tuple[bool, bool]:
    """Tell whether a lane belongs to an element, and whether it belongs to a channel."""
    by_channel = len(shape) == 3 and mask == (shape[0], 1, 1)
    return mask == shape and len(shape) in (1, 3), by_channel


def _cut(
    node: Node,
    op: LinearInteger | Conv2dInteger,
    shape: tuple[int, ...],
    weight: Array,
    *,
    by_channel: bool,
) -> tuple[tuple[int, int, int], Array, Conv2dInteger, bool] | None:
    """Return (image, weight, geometry, whether units are elements); None if units do not fit."""
    if len(shape) not in (1, 3):
        return None
    image = (shape[0], shape[1], shape[2]) if len(shape) == 3 else (shape[0], 1, 1)
    whole = (len(weight), *image)
    if isinstance(op, LinearInteger):
        if len(node.inputs[0].type.shape) != 1:
            return None
        return image, weight.reshape(whole), Conv2dInteger(), not by_channel
    if len(shape) != 3 or op.groups != 1:
        return None
    if by_channel:
        return image, weight, op, False
    covers = weight.shape == whole and not any(op.padding) and op.dilation == (1, 1)
    return (image, weight, Conv2dInteger(), True) if covers else None


def _way_up(lowering: Lowering, value: Value) -> tuple[tuple[Node, ...], Node | None]:
    """Return the nodes from a Select down to `value`, and the Select; None if there is none."""
    chain = list[Node]()
    for node in _above(lowering, value):
        if isinstance(node.op, Select):
            return tuple(reversed(chain)), node
        below = chain[-1] if chain else None
        reshapes_last = below is None or isinstance(below.op, Reshape)
        if not _keeps_zero(lowering, node, below):
            break
        if isinstance(node.op, Reshape) and not reshapes_last:
            break
        chain.append(node)
    return (), None


def _above(lowering: Lowering, value: Value) -> Iterator[Node]:
    node = lowering.producer(value)
    while node is not None and node.inputs:
        yield node
        node = lowering.producer(node.inputs[0])


def _keeps_zero(lowering: Lowering, node: Node, below: Node | None) -> bool:
    """Tell whether an op maps units that are Z everywhere to the new Z, and keeps units apart."""
    x = node.inputs[0].type
    if x.quant is None or x.quant.axis is not None:
        return False
    zero = x.quant.per_tensor[1]
    match node.op:
        case Reshape():
            return True
        case ClampCodes(low=low, high=high):
            return low <= zero <= high
        case Lookup():
            table = lowering.graph.constants.get(node.inputs[1])
            new = codes_of(node.output.type).per_tensor[1]
            return table is not None and int(table.reshape(-1)[zero]) == new
        case MaxPool2d() as pool:
            return pool.windows_meet(x.shape)
        case SumPoolInteger():
            return below is not None and isinstance(below.op, Requantize)
        case Requantize(quant=quant, low=low, high=high):
            maker = lowering.producer(node.inputs[0])
            factor = lowering.graph.constants.get(node.inputs[1])
            return (
                maker is not None
                and isinstance(maker.op, SumPoolInteger)
                and factor is not None
                and bool(np.isfinite(factor).all())
                and low <= quant.per_tensor[1] <= high
            )
    return False
