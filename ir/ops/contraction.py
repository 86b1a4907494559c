"""The sums of products that Linear and Conv2d share, on arrays [L, B, *shape]."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from qbnnc.ir.types import Array

Multiply: TypeAlias = Callable[[Array, Array], Array]  # [..., M, K] and [..., K, N]

_CHUNK_ELEMENTS = 1 << 23  # im2col elements at a time: bounds memory, not meaning


def contract(x: Array, weight: Array, multiply: Multiply) -> Array:
    """Products [L, B, N] of x and the transposed weight: sum_k x[l, b, k] * weight[l, 0, n, k]."""
    return multiply(x, weight[:, 0].swapaxes(-1, -2))


def convolve(
    x: Array,
    weight: Array,
    stride: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
    multiply: Multiply,
) -> Array:
    """Cross-correlation without padding: x [L, B, C, H, W], weight [L, 1, O, C/groups, kh, kw]."""
    if weight.shape[0] == 1:
        images = x.reshape(-1, *x.shape[2:])
        flat = _convolve(images, weight[0, 0], stride, dilation, groups, multiply)
        return flat.reshape(*x.shape[:2], *flat.shape[1:])
    samples = range(weight.shape[0])
    each = (x[min(s, x.shape[0] - 1)] for s in samples)
    return np.stack(
        [_convolve(a, weight[s, 0], stride, dilation, groups, multiply) for s, a in enumerate(each)]
    )


def windows(
    x: Array, kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int]
) -> Array:
    """Views [..., Ho, Wo, kh, kw] of x at every position of the kernel."""
    extent = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True))
    view = sliding_window_view(x, extent, axis=(-2, -1))
    strided: Array = view[..., :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]]
    return strided


def pad(x: Array, padding: tuple[int, int, int, int], value: float) -> Array:
    """`value` around the last two axes; padding is (top, left, bottom, right)."""
    if not any(padding):
        return x
    top, left, bottom, right = padding
    widths = [(0, 0)] * (x.ndim - 2) + [(top, bottom), (left, right)]
    padded: Array = np.pad(x, widths, constant_values=value)
    return padded


def _convolve(
    x: Array,
    weight: Array,
    stride: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
    multiply: Multiply,
) -> Array:
    out_channels, channels = weight.shape[:2]
    kernel = (weight.shape[2], weight.shape[3])
    view = windows(x, kernel, stride, dilation)  # [N, C, Ho, Wo, kh, kw]
    if weight.shape == (groups, 1, 1, 1):  # one product an element: no need to go group by group
        product: Array = view[..., 0, 0] * weight.reshape(groups, 1, 1)
        return product
    _, _, height, width = view.shape[:4]
    result = np.empty((len(x), out_channels, height, width), np.result_type(x, weight))
    per_group = out_channels // groups
    step = max(1, _CHUNK_ELEMENTS // max(1, height * width * weight[0].size))
    for group in range(groups):
        taken = slice(group * channels, (group + 1) * channels)
        made = slice(group * per_group, (group + 1) * per_group)
        matrix = weight[made].reshape(per_group, -1).T
        for start in range(0, len(x), step):
            part = view[start : start + step, taken].transpose(0, 2, 3, 1, 4, 5)
            product = multiply(part.reshape(-1, matrix.shape[0]), matrix)
            result[start : start + step, made] = product.reshape(
                -1, height, width, per_group
            ).transpose(0, 3, 1, 2)
    return result
