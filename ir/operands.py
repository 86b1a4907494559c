"""Checks of constants against the ops that read them, where types alone do not tell."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from qbnnc.ir.graph import Node, Value
from qbnnc.ir.ops.normalization import BatchNorm
from qbnnc.ir.ops.normalize import Normalize, NormalizeInteger
from qbnnc.ir.ops.quantize import Requantize
from qbnnc.ir.ops.sampling import SampledWeight, SampledWeightInteger
from qbnnc.ir.ops.softmax import ScaledSoftmax, SoftmaxInteger
from qbnnc.ir.ops.unary import Lookup, LookupReal
from qbnnc.ir.types import Array, DType
from qbnnc.ir.validity import codes
from qbnnc.support import limits

_SMALLEST = float(np.finfo(np.float32).smallest_normal)
_INT32_HIGH = 2**31 - 1


def check_operands(node: Node, constants: Mapping[Value, Array]) -> None:
    """Raise ValueError unless the constants that `node` reads hold values that it takes.

    1. A table is a constant; its codes are those of the result.
    2. A factor that takes accumulators to codes is a positive, normal float32.
    3. The ratio and the divisor of a sampled weight are constants in range. So is the index of its
       noise, which holds numbers of elements.
    4. The variance of a batch normalisation is not negative.
    5. A softmax has constants. Its table is not negative, and int32 holds a row's sum. A mask holds
       0 and 1, and leaves an element of each row.
    6. Weight and bias of any other normalisation are constants.
    """
    match node.op:
        case Lookup(quant=quant):
            low, high = _ends(_constant(node, 1, constants, "table"))
            if not quant.low <= low <= high <= quant.high:
                raise ValueError(f"the table holds {low}..{high}, and its codes are {codes(quant)}")
        case LookupReal():
            _constant(node, 1, constants, "table")
        case Requantize():
            if (factor := constants.get(node.inputs[1])) is not None:
                _check_normal(factor, "multiplier")
        case SampledWeightInteger():
            for place, what in enumerate(("mean", "deviation", None, "ratio R", "divisor r")):
                if what is not None:
                    _constant(node, place, constants, what)
            for end in _ends(_constant(node, 3, constants, "ratio R")):
                limits.RATIO.check(int(end))
            _check_normal(_constant(node, 4, constants, "divisor r"), "divisor")
            _check_index(node, 5, constants)
        case Normalize() | NormalizeInteger():
            _constant(node, 1, constants, "weight")
            _constant(node, 2, constants, "bias")
        case SampledWeight():
            _check_index(node, 3, constants)
        case SoftmaxInteger() | ScaledSoftmax():
            _check_softmax(node, constants)
        case BatchNorm(eps=eps):
            variance = constants.get(node.inputs[4])
            if variance is not None and not float(variance.min()) + eps > 0:
                raise ValueError(f"the variance {variance.min():g} + {eps:g} is not positive")


def check_real(node: Node) -> None:
    """Raise ValueError if an INTEGER op computes on a float32 constant, which no backend takes.

    A constant may be an output, under another shape too. Anything else is computed from it when the
    model is compiled.
    """
    type_ = node.output.type
    if type_.dtype is DType.F32 and any(
        v.type.dtype is DType.F32 and not v.type.axes for v in node.inputs[:1]
    ):
        raise ValueError("computes on a float32 constant: fold it, and compile the model again")


def _check_softmax(node: Node, constants: Mapping[Value, Array]) -> None:
    x, *others = node.inputs
    arrays = [_constant(node, i, constants, "input beside x") for i in range(1, len(node.inputs))]
    if isinstance(node.op, SoftmaxInteger):
        low, high = _ends(arrays[0])
        if low < 0 or high * x.type.shape[-1] > _INT32_HIGH:
            raise ValueError(f"int32 does not hold sums of {x.type.shape[-1]} of {low}..{high}")
    for value, array in zip(others, arrays, strict=True):
        if value.type.dtype is DType.U8:
            low, high = _ends(array)
            if high > 1:
                raise ValueError(f"the mask holds {low}..{high}, and not 0 and 1")
            if not array.any(axis=-1).all():
                raise ValueError("the mask leaves no element of a row")


def _check_index(node: Node, place: int, constants: Mapping[Value, Array]) -> None:
    if len(node.inputs) <= place:
        return
    low, high = _ends(_constant(node, place, constants, "index of the noise"))
    size = node.inputs[2].type.size
    if low < 0 or high >= size:
        raise ValueError(f"the index of the noise is {low}..{high}, and it has {size} elements")


def _check_normal(array: Array, what: str) -> None:
    least = float(array.min())
    if not least >= _SMALLEST:
        raise ValueError(f"the {what} {least:g} is not a positive, normal float32")


def _constant(node: Node, place: int, constants: Mapping[Value, Array], what: str) -> Array:
    if (array := constants.get(node.inputs[place])) is None:
        raise ValueError(f"the {what} is not a constant")
    return array


def _ends(array: Array) -> tuple[int, int]:
    return int(array.min()), int(array.max())
