"""Input values beyond the range that a network was calibrated for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.model import Model
from qbnnc.ir.ops import QuantizeInput

MUCH_CLIPPED = 0.05
"""The share of clipped input values above which commands warn: more than outliers."""


def clipped_share(model: Model, x: NDArray[np.float32]) -> float:
    """The share of the values of x [N, *shape] that the input quantiser clips; 0 of a float model.

    By one code or more, of the first member. Pixels 0..255 for a network of 0..1 are the usual
    cause of a large share, and give plausible metrics.
    """
    op = next((n.op for n in model.graph.nodes if isinstance(n.op, QuantizeInput)), None)
    if op is None or x.size == 0:
        return 0.0
    channels = [1] * (x.ndim - 2)
    offset, scale = (
        np.asarray(values, np.float32).reshape(-1, *channels) for values in (op.offset, op.scale)
    )
    zero = op.quant.per_tensor[1]
    low, high = (offset + scale * np.float32(code - zero) for code in (op.low, op.high))
    return float(((x < low - np.abs(scale)) | (x > high + np.abs(scale))).mean())
