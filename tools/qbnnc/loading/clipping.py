"""Input values beyond the range that a network was calibrated for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.inputs import input_values
from qbnnc.ir.model import Model
from qbnnc.ir.ops import QuantizeInput

MUCH_CLIPPED = 0.05
"""The share of clipped input values above which commands warn: more than outliers."""


def clipped_share(model: Model, x: NDArray[np.float32]) -> float:
    """The share of the values of x [N, *shape] that an input's quantiser clips.

    It is 0 of a float model.
    By one code or more, of the first member. Pixels 0..255 for a network of 0..1 are the usual
    cause of a large share, and give plausible metrics.
    """
    if x.size == 0:
        return 0.0
    read = [(n.inputs[0], n.op) for n in model.graph.nodes if isinstance(n.op, QuantizeInput)]
    clipped, several = 0.0, len(model.inputs) > 1
    for entry, value in zip(model.inputs, input_values(model.graph), strict=True):
        op = next((op for source, op in read if source is value), None)
        part = entry.of(x) if several else x
        clipped += 0.0 if op is None else part.size * _clipped(op, part)
    return clipped / x.size


def _clipped(op: QuantizeInput, x: NDArray[np.float32]) -> float:
    """The share of one input's values."""
    channels = [1] * (x.ndim - 2)
    offset, scale = (
        np.asarray(values, np.float32).reshape(-1, *channels) for values in (op.offset, op.scale)
    )
    zero = op.quant.per_tensor[1]
    low, high = (offset + scale * np.float32(code - zero) for code in (op.low, op.high))
    return float(((x < low - np.abs(scale)) | (x > high + np.abs(scale))).mean())
