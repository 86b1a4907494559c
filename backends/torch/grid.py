"""The grid that simulated quantisation rounds to, and its straight-through gradient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from qbnnc.ir.types import QuantParams


@dataclass(frozen=True, slots=True)
class Grid:
    """real = scale * (code - zero); codes low..high. `scale` and `zero` are f32 [1] or [channels].

    The tensor form of QuantParams; a scale may require a gradient.
    """

    scale: Tensor
    zero: Tensor
    low: int
    high: int
    axis: int | None = None

    @staticmethod
    def of(quant: QuantParams, device: torch.device) -> Grid:
        scale, zero = (
            torch.tensor(v, dtype=torch.float32, device=device)
            for v in (quant.scale, quant.zero_point)
        )
        return Grid(scale, zero, quant.low, quant.high, quant.axis)

    def quant(self) -> QuantParams:
        scale = tuple(self.scale.detach().cpu().double().tolist())
        zero = tuple(int(z) for z in self.zero.tolist())
        return QuantParams(scale, zero, self.low, self.high, self.axis)

    def scaled(self, factor: float) -> Grid:
        """The same codes, meaning `factor` times as much."""
        scale = (self.scale.double() * factor).float()
        return Grid(scale, self.zero, self.low, self.high, self.axis)

    def round(self, x: Tensor) -> Tensor:
        """dequantize(quantize(x)) of section 2, x [B, *shape]; gradients pass where x is in range.

        The gradient of a scale follows learned step size quantisation (Esser et al. 2020). It is
        the rounding error in range and the code at the bound outside, times 1/sqrt(n*high) for n
        elements a scale.
        """
        shape = [1] * x.ndim
        if self.axis is not None:
            shape[self.axis + 1] = -1
        scale, zero = self.scale.reshape(shape), self.zero.reshape(shape)
        # torch does not type what a Function's apply takes and gives
        apply = cast(Callable[..., Tensor], _Round.apply)
        return apply(x, scale, self.low - zero, self.high - zero)


class _Round(torch.autograd.Function):
    """rint(clip(x / S, lo, hi)) * S: clipped before it is rounded, a true division.

    torch.fake_quantize_* multiplies by 1/S and rounds first, which gives other codes at ties.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, low: Tensor, high: Tensor) -> Tensor:
        steps = x / scale
        rounded = torch.round(torch.clamp(steps, low, high))
        ctx.save_for_backward(steps, rounded, low, high)
        ctx.scale_shape = scale.shape if scale.requires_grad else None
        return rounded * scale

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor | None, None, None]:
        steps, rounded, low, high = ctx.saved_tensors
        inside = (steps >= low) & (steps <= high)
        through = gradients[0] * inside
        if ctx.scale_shape is None:
            return through, None, None, None
        slope = gradients[0] * torch.where(inside, rounded - steps, rounded)
        count = slope.numel() / max(1, ctx.scale_shape.numel())
        damping = (count * high.max().clamp(min=1)) ** -0.5
        return through, slope.sum_to_size(ctx.scale_shape) * damping, None, None
