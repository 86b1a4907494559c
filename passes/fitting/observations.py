"""Observations of a layer: what its weight is multiplied with, and sums over them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.ops import Conv2d, Op
from qbnnc.ir.ops.contraction import pad, windows
from qbnnc.ir.products import float32_product
from qbnnc.ir.types import Array
from qbnnc.passes.fitting.rounding import Moments, MomentSum

Float64 = NDArray[np.float64]

MOST_OBSERVATIONS = 1 << 15


def layer_moments(
    op: Op, weight: tuple[int, ...], inputs: list[Array], outputs: list[Array]
) -> Moments:
    """Moments of a Linear's or (ungrouped) Conv2d's inputs and wanted outputs.

    `inputs` and `outputs` are batches [1, B, ...]; `weight` is the shape of the weight. Every
    position of a convolution is an observation. Evenly spaced ones are taken if there are more than
    2^15.
    """
    total = sum(array.shape[1] * positions(array) for array in outputs)
    step = -(-total // MOST_OBSERVATIONS)
    sums = MomentSum(int(np.prod(weight[1:])), weight[0])
    for x, y in zip(inputs, outputs, strict=True):
        wide = np.broadcast_to(x, (1, y.shape[1], *x.shape[2:]))
        rows = im2col(op, weight, wide[0], step)
        sums.add(rows, channels_last(y[0])[::step])
    return sums.moments()


def input_products(op: Op, weight: tuple[int, ...], inputs: list[Array]) -> Float64:
    """The mean of x x^T [K, K] over what a layer multiplies its weight with, as `layer_moments`.

    `inputs` are batches [1, B, ...].
    """
    places = len(im2col(op, weight, inputs[0][0][:1]))
    step = -(-sum(x.shape[1] for x in inputs) * places // MOST_OBSERVATIONS)
    size, count = int(np.prod(weight[1:])), 0
    total = np.zeros((size, size))
    for x in inputs:
        rows = im2col(op, weight, x[0], step)
        total, count = total + float32_product(rows.T, rows), count + len(rows)
    symmetric: Float64 = (total + total.T) / (2 * count)
    return symmetric


def im2col(op: Op, weight: tuple[int, ...], x: Array, step: int = 1) -> Array:
    """Every `step`th row [K] that the layer multiplies its weight with: x [B, ...] -> [M, K]."""
    if not isinstance(op, Conv2d):
        return x[::step]
    kernel = weight[2], weight[3]
    view = windows(pad(x, op.padding, 0), kernel, op.stride, op.dilation)
    height, width = view.shape[2:4]
    taken = np.arange(0, len(x) * height * width, step)
    row, place = np.divmod(taken, height * width)
    picked: Array = view[row, :, place // width, place % width]
    return picked.reshape(len(taken), -1)


def positions(y: Array) -> int:
    """The number of positions of a convolution's output [1, B, N, ...]; 1 for a vector."""
    return int(np.prod(y.shape[3:], dtype=np.int64))


def channels_last(y: Array) -> Array:
    """[B, N, ...] -> [B * positions, N]."""
    return np.moveaxis(y, 1, -1).reshape(-1, y.shape[1])
