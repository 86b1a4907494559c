"""Constants of a softmax on integers: its table of exponentials, and its bias in whole steps.

The sections named are those of docs/semantics.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from qbnnc.ir.arithmetic import f32
from qbnnc.ir.graph import Builder, Node, Value
from qbnnc.ir.ops import ScaledSoftmax
from qbnnc.ir.ops.softmax import MOST_ENTRIES
from qbnnc.ir.types import Array, DType
from qbnnc.passes.integer.constants import quant_of
from qbnnc.support.errors import CompileError

ONE = 2**16  # the table's exp(0)
STEP = 2.0**-7  # of the table for accumulators, in nats
_ENTRIES = 4096  # of a table, at most
_LARGEST_BIAS = 2**30
_LARGEST_ROW = 2**31 // ONE - 1


def softmax_inputs(
    softmax: Node, x: Value, arrays: Mapping[Value, Array], name: str, build: Builder
) -> tuple[float, tuple[Value, ...]]:
    """The multiplier of a SoftmaxInteger of x, and its constants: table, mask and bias.

    `arrays` are the constants that the ScaledSoftmax reads. The table is called after `name`.
    """
    values = softmax.inputs[1:]
    multiplier, table, others = softmax_constants(softmax, x, [arrays[v] for v in values])
    made = [build.constant(f"{name}.table", table)]
    made += [build.constant(v.name, array) for v, array in zip(values, others, strict=True)]
    return multiplier, tuple(made)


def softmax_constants(
    softmax: Node, x: Value, constants: Sequence[Array]
) -> tuple[float, Array, list[Array]]:
    """(multiplier, table, mask and bias) of a ScaledSoftmax of the integers x (section 4).

    Codes go to the table as they are; accumulators, whose steps are small, go in steps of 1/128.
    Raises CompileError where int32 would not hold a row's sum, or a bias.
    """
    assert isinstance(softmax.op, ScaledSoftmax)
    step = quant_of(x).per_tensor[0] * softmax.op.factor
    length = x.type.shape[-1]
    if length > _LARGEST_ROW:
        raise CompileError(
            f"a softmax over {length} elements, and int32 holds sums of {_LARGEST_ROW} at most",
            softmax.loc,
            remedy="attend to fewer positions at a time",
        )
    whole = [_in_steps(array, step, softmax) for array in constants]
    if x.type.dtype is DType.U8:
        spread = quant_of(x).high + sum(int(a.max()) - int(a.min()) for a in whole if _is_bias(a))
        return 1.0, exponentials(step, spread + 1), whole
    return f32(step / STEP), exponentials(STEP, _ENTRIES), whole


def exponentials(step: float, entries: int) -> Array:
    """rint(2^16 * exp(-t * step)) for t = 0, 1, ...: i32, no more than up to the first 0."""
    steps = np.arange(min(entries, MOST_ENTRIES), dtype=np.float64)
    table = np.rint(ONE * np.exp(-steps * step)).astype(np.int32)
    cut: Array = table[: int(np.count_nonzero(table)) + 1]
    return cut


def _in_steps(array: Array, step: float, softmax: Node) -> Array:
    """A mask as it is; a bias as whole steps of the scores, i32."""
    if not _is_real(array):
        return array
    steps = np.rint(array.astype(np.float64) / step)
    if np.abs(steps).max() > _LARGEST_BIAS:
        raise CompileError(
            f"the constant added to the scores reaches {np.abs(array).max():g}, and their step is "
            f"{step:g}: int32 does not hold it",
            softmax.loc,
            remedy="mask elements by minus infinity instead",
        )
    return steps.astype(np.int32)


def _is_real(array: Array) -> bool:
    return array.dtype == np.float32


def _is_bias(array: Array) -> bool:
    return array.dtype == np.int32
