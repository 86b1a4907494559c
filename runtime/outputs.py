"""The float32 outputs of all samples: one after the other in one array, [L, B, *shape] each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.types import Axis
from qbnnc.runtime.execute import Float32, Request
from qbnnc.runtime.plan import Plan


def room_for(plan: Plan, request: Request) -> Float32:
    """The array that programs write to."""
    return np.empty(request.samples * len(request.x) * plan.size, np.float32)


def split(plan: Plan, request: Request, out: Float32) -> tuple[NDArray[np.float32], ...]:
    """Each output [L, B, *shape], as a view."""
    copies, start, views = request.samples * len(request.x), 0, list[Float32]()
    for type_ in plan.outputs:
        part = out[start * copies : (start + type_.size) * copies]
        views.append(part.reshape(request.samples, len(request.x), *type_.shape))
        start += type_.size
    return tuple(views)


def complete(plan: Plan, request: Request, outputs: tuple[Float32, ...]) -> None:
    """Fill in what programs write once for all samples or all rows, or not at all."""
    if not len(request.x):
        return
    for i, (output, type_) in enumerate(zip(outputs, plan.outputs, strict=True)):
        mine = output[request.member :: request.members]
        if i in plan.copied:
            array = plan.copied[i]
            mine[:] = (request.x if array is None else array[None]).reshape(-1, *type_.shape)
            continue
        if Axis.SAMPLE not in type_.axes:
            mine[1:] = mine[:1]
        elif Axis.ROW not in type_.axes:
            mine[:, 1:] = mine[:, :1]
