"""Resizing by interpolation: linear, bilinear, trilinear and bicubic, with antialiasing or not.

Each axis has a constant matrix [new, old], which torch's own function gives on the unit matrix.
Upsampling by whole factors is often the same few weights at each place, and the outermost elements
are repeated outwards. Such a resize is one convolution of each channel, whose outputs are
interleaved. Any other is a product with the matrix of one axis after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_letters
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from qbnnc.frontend.convert.call import Call, Rules
from qbnnc.frontend.convert.ops.contractions import with_constant
from qbnnc.frontend.convert.ops.element_moves import taken
from qbnnc.frontend.convert.ops.shapes import reshaped, step
from qbnnc.frontend.convert.sampled_weights.weights import Weight
from qbnnc.frontend.convert.tracked import Activation
from qbnnc.frontend.program.random_ops import op_name
from qbnnc.ir.graph import Value
from qbnnc.ir.ops import Conv2d, Transpose

_REACH = 2  # elements on each side of a place that its weights read at most


def resized(call: Call) -> Activation:
    """The axes behind the channels, resized to torch's shape of the result."""
    x, wanted = call.row("input" if "input" in call.arguments else "self"), call.row_shape()
    axes = range(1, len(wanted))
    matrices = [_matrix(call, x.type.shape[axis], wanted[axis], axis - 1) for axis in axes]
    phases = [_phases(matrix) for matrix in matrices]
    regular = [each for each in phases if each is not None]
    if len(regular) == len(matrices) <= 2:
        return Activation(_interleaved(call, x, regular))
    for axis, matrix in zip(axes, matrices, strict=True):
        x = _along(call, x, axis, matrix)
    return Activation(x)


def _along(call: Call, x: Value, axis: int, matrix: Tensor) -> Value:
    """x with the matrix applied along an axis of its shape."""
    if matrix.shape[0] == matrix.shape[1] and bool((matrix == torch.eye(len(matrix))).all()):
        return x
    own = ascii_letters[: len(x.type.shape)]
    out = own.replace(own[axis], "Z")
    weight = Weight(matrix.to(torch.float32))
    return call.context.value(with_constant(call, x, own, weight, "Z" + own[axis], out), call)


def _matrix(call: Call, old: int, new: int, axis: int) -> Tensor:
    """The weights [new, old] of one axis, in float64."""
    scale = _scale(call, axis)
    aligned = call.flag("align_corners")
    mode = "bicubic" if "bicubic" in op_name(call.node) else "bilinear"
    made = F.interpolate(
        torch.eye(old, dtype=torch.float64).reshape(old, 1, old, 1),
        (new, 1) if scale is None else None,
        None if scale is None else (scale, 1.0),
        mode,
        aligned,
        antialias=op_name(call.node).endswith("_aa"),
    )
    return made.reshape(old, -1).T.contiguous()


def _scale(call: Call, axis: int) -> float | None:
    """The factor that torch computes the places by; None if the two sizes tell it."""
    names = ("scales_d", "scales_h", "scales_w")
    if call.arguments.get("scale_factors") is not None:
        return float(cast("Sequence[float]", call.arguments["scale_factors"])[axis])
    if "scales" in call.arguments:
        given = call.arguments["scales"]
    else:
        own = [call.arguments[name] for name in names if name in call.arguments]
        given = own[axis] if own else None
    return None if given is None else float(cast(float, given))


@dataclass(frozen=True, slots=True, eq=False)
class _Phases:
    """Weights [factor, 2*reach + 1]: element factor*i + p reads those around i by row p."""

    weights: Tensor

    @property
    def factor(self) -> int:
        return self.weights.shape[0]

    @property
    def reach(self) -> int:
        return self.weights.shape[1] // 2

    def matrix(self, old: int) -> Tensor:
        """The weights [factor*old, old] that these are with the outermost elements repeated."""
        made = torch.zeros(old, self.factor, old, dtype=torch.float64)
        for i in range(old):
            for t in range(2 * self.reach + 1):
                made[i, :, min(max(i + t - self.reach, 0), old - 1)] += self.weights[:, t]
        return made.reshape(-1, old)


def _phases(matrix: Tensor) -> _Phases | None:
    """The weights that all places share, with the least reach; None if there are none."""
    new, old = matrix.shape
    if new % old:
        return None
    factor, middle = new // old, old // 2
    rows = matrix[factor * middle : factor * (middle + 1)]
    for reach in range(min(_REACH, middle, old - 1 - middle) + 1):
        found = _Phases(rows[:, middle - reach : middle + reach + 1])
        if torch.allclose(found.matrix(old), matrix, rtol=0, atol=1e-7):
            return found
    return None


def _interleaved(call: Call, x: Value, phases: Sequence[_Phases]) -> Value:
    """One convolution that makes all phases of each channel, which are then interleaved."""
    shape = x.type.shape
    for axis, each in enumerate(phases, start=1):
        around = np.arange(-each.reach, shape[axis] + each.reach)
        x = taken(call, x, axis, np.clip(around, 0, shape[axis] - 1))
    one = _Phases(torch.ones(1, 1, dtype=torch.float64))
    rows, columns = [one] * (2 - len(phases)) + list(phases)
    channels, height, width = (shape[0], *[1] * (2 - len(phases)), *shape[1:])
    image = reshaped(
        call, x, (channels, height + 2 * rows.reach, width + 2 * columns.reach), "image"
    )
    y = call.layer(Conv2d(groups=channels), image, _kernels(channels, rows, columns), None)
    blocks = reshaped(call, y, (channels, rows.factor, columns.factor, height, width), "blocks")
    whole = step(call, "turned", Transpose((0, 3, 1, 4, 2)), blocks)
    return reshaped(call, whole, call.row_shape(), "whole")


def _kernels(channels: int, rows: _Phases, columns: _Phases) -> Weight:
    """The products of the weights of rows and columns, for each channel."""
    kernels = torch.einsum("ac,bd->abcd", rows.weights, columns.weights)
    whole = kernels.reshape(-1, 1, *kernels.shape[2:]).repeat(channels, 1, 1, 1)
    return Weight(whole.to(torch.float32))


RULES: Rules = dict.fromkeys(
    "_upsample_bicubic2d_aa _upsample_bilinear2d_aa upsample_bicubic2d upsample_bilinear2d "
    "upsample_linear1d upsample_trilinear3d".split(),
    resized,
)
