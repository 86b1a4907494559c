"""Values put back where a max pool took its maxima from (docs/semantics.md, section 4)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from qbnnc.ir.ops.base import EVERY_STAGE, DeterministicOp, Tensor, expect_count, union
from qbnnc.ir.types import Array, DType, TensorType
from qbnnc.support import limits


@dataclass(frozen=True, slots=True)
class MaxUnpool(DeterministicOp):
    """Elements of v [C, H, W] at the first maximum of each window of x [C, H*kh, W*kw].

    The windows lie side by side. The first maximum is that in row-major order. Everywhere else are
    zeros, or the zero point of v's codes. x has codes of any scale: they are compared alone.
    """

    stages = EVERY_STAGE
    since = 4
    keeps_codes = adds_zeros = commutes_with_clamp = commutes_with_factor = True
    kernel: tuple[int, int]

    def infer(self, *inputs: TensorType) -> TensorType:
        expect_count(inputs, 2)
        v, x = inputs
        for extent in self.kernel:
            limits.KERNEL.check(extent)
        if len(v.shape) != 3:
            raise ValueError(f"takes [C, H, W], not {v}")
        shape = (v.shape[0], v.shape[1] * self.kernel[0], v.shape[2] * self.kernel[1])
        if x.shape != shape:
            raise ValueError(f"{v} does not have an element for each window of {x}")
        for each in inputs:
            if each.dtype not in (DType.F32, DType.U8) or each.dtype is not v.dtype:
                raise ValueError(f"takes real numbers or u8 codes, not {each}")
        return replace(v, shape=shape, axes=union(v, x))

    def evaluate(self, *inputs: Tensor) -> Array:
        v, x = inputs
        windows = self._windows(x.data)
        samples, rows = np.broadcast_shapes(v.data.shape[:2], x.data.shape[:2])
        first = np.broadcast_to(windows.argmax(axis=-1), (samples, rows, *v.type.shape))
        zero = v.zero_point if v.type.dtype is DType.U8 else np.float32(0)
        shape = (samples, rows, *v.type.shape, windows.shape[-1])
        y = np.broadcast_to(zero.astype(v.data.dtype).reshape(-1)[0], shape).copy()
        taken = np.broadcast_to(v.data, first.shape)
        np.put_along_axis(y, first[..., None], taken[..., None], axis=-1)
        channels, height, width = v.type.shape
        apart = y.reshape(samples, rows, channels, height, width, *self.kernel)
        return apart.swapaxes(4, 5).reshape(samples, rows, *x.type.shape)

    def _windows(self, x: Array) -> Array:
        """[L, B, C, H, W, kh*kw]: the elements of each window, in row-major order."""
        samples, rows, channels, height, width = x.shape
        down, across = self.kernel
        apart = x.reshape(samples, rows, channels, height // down, down, width // across, across)
        turned = apart.swapaxes(4, 5)
        return turned.reshape(*turned.shape[:5], down * across)
