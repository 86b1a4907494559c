"""The float32 outputs of all samples, one after the other in one array: [L, B, *shape] each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.types import PER_ROW_AND_SAMPLE, Axis
from qbnnc.runtime.plan import Plan

Float32 = NDArray[np.float32]


class Outputs:
    """The outputs of predictions of one size.

    `plan` is that of any member: all members have the same outputs.
    """

    def __init__(self, plan: Plan, batch: int, samples: int) -> None:
        self.samples, self.elements = samples, batch * samples * plan.size
        self._parts = list[tuple[slice, tuple[int, ...]]]()
        start = 0
        for type_ in plan.outputs:
            stop = start + type_.size * batch * samples
            self._parts.append((slice(start, stop), (samples, batch, *type_.shape)))
            start = stop

    def allocate(self) -> Float32:
        """Allocate the array that programs write to."""
        return np.empty(self.elements, np.float32)

    def split(self, out: Float32) -> tuple[Float32, ...]:
        """Return each output [L, B, *shape], as a view."""
        return tuple([out[part].reshape(shape) for part, shape in self._parts])


def is_complete(plan: Plan) -> bool:
    """Tell whether the program of a plan writes every sample of every row."""
    return not plan.copied and all(type_.axes == PER_ROW_AND_SAMPLE for type_ in plan.outputs)


def complete(
    plan: Plan, outputs: tuple[Float32, ...], x: Float32, member: int, members: int
) -> None:
    """Fill in the outputs that a program writes once for all samples or rows, or not at all."""
    if not len(x):
        return
    for i, (output, type_) in enumerate(zip(outputs, plan.outputs, strict=True)):
        mine = output[member::members]
        if i in plan.copied:
            array = plan.copied[i]
            mine[:] = (x if array is None else array[None]).reshape(-1, *type_.shape)
            continue
        if Axis.SAMPLE not in type_.axes:
            mine[1:] = mine[:1]
        elif Axis.ROW not in type_.axes:
            mine[:, 1:] = mine[:, :1]
