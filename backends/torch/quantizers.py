"""Quantisers whose grids follow the values they round, by observed or learned ranges."""

from __future__ import annotations

from enum import Enum
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from qbnnc.backends.torch.grid import Grid
from qbnnc.ir.scales import activation_quant, power_of_two
from qbnnc.ir.types import QuantParams


class Ranges(Enum):
    """The rule by which a calibrated range changes while training."""

    EMA = "ema"  # with an exponential moving average of what is seen (the paper's)
    LEARNED = "learned"  # by the gradient of its scale (Esser et al. 2020)


def is_power_of_two(quant: QuantParams) -> bool:
    """Whether every scale is a power of two."""
    return all(power_of_two(scale) == scale for scale in quant.scale)


class ValueQuantizer(nn.Module):
    """The grid of an activation, or of the `places` activations that a concatenation joins.

    LEARNED: scale = S * exp(t), S the calibrated scale and t a parameter; the zero point stays.
    EMA: both ends of the calibrated range move in proportion to the moving averages of the
    batches' minimum and maximum. So a range that clips goes on clipping the same part. An end at 0
    stays there. The first 1/decay batches are averaged with equal weights, and the range moves in
    proportion to that average.
    """

    seen: Tensor
    first: Tensor
    count: Tensor

    def __init__(self, quant: QuantParams, ranges: Ranges, decay: float, places: int = 1) -> None:
        super().__init__()
        self.pow2 = is_power_of_two(quant)
        ranges = Ranges.EMA if self.pow2 else ranges  # a learned scale would not stay one
        self.calibrated, self.decay, self.ranges = quant, decay, ranges
        self.frozen = False
        if ranges is Ranges.LEARNED:
            self.log_factor = nn.Parameter(torch.zeros(1))
        self.register_buffer("seen", torch.zeros(places, 2))
        self.register_buffer("first", torch.zeros(places, 2))
        self.register_buffer("count", torch.zeros(places, dtype=torch.int64))

    def observe(self, x: Tensor, place: int = 0) -> None:
        """Take one batch of the value at a place into the averages, before it is rounded."""
        if self.frozen or not self.training or self.ranges is Ranges.LEARNED:
            return
        batch = torch.stack(torch.aminmax(x.detach()))
        self.count[place] += 1
        starting = 1 / float(self.count[place])
        self.seen[place].lerp_(batch, max(starting, self.decay))
        if starting >= self.decay:
            self.first[place] = self.seen[place]

    def grid(self) -> Grid:
        device = self.seen.device
        if self.ranges is Ranges.LEARNED:
            base = Grid.of(self.calibrated, device)
            scale = base.scale * torch.exp(self.log_factor)
            return Grid(scale, base.zero, base.low, base.high)
        return Grid.of(self._followed(), device)

    def _followed(self) -> QuantParams:
        quant, (scale, zero) = self.calibrated, self.calibrated.per_tensor
        if torch.equal(self.seen, self.first):
            return quant
        ends = [(code - zero) * scale for code in (quant.low, quant.high)]
        moved = (
            end if end == 0 or before * end <= 0 else end * max(now / before, 0.0)
            for end, now, before in zip(ends, _hull(self.seen), _hull(self.first), strict=True)
        )
        low, high = moved
        return activation_quant(low, high, quant.bits, pow2=self.pow2)


def _hull(ranges: Tensor) -> tuple[float, float]:
    """The least and the greatest end of [places, 2]."""
    return float(ranges[:, 0].min()), float(ranges[:, 1].max())


class WeightQuantizer(nn.Module):
    """The grid of a weight [N, ...], one scale or one for each channel.

    LEARNED: scale = S * exp(t) for each. EMA: the ends of the range keep their proportion to the
    weight's own minimum and maximum, which need no average: a weight is seen whole.
    """

    low_part: Tensor
    high_part: Tensor

    def __init__(self, quant: QuantParams, ranges: Ranges, spread: Tensor) -> None:
        """`spread` [N, K] holds the weight's values, or mu -+ 3 sigma of a sampled weight."""
        super().__init__()
        self.calibrated, self.ranges = quant, ranges
        self.frozen = False
        self.symmetric = not any(quant.zero_point) and quant.low == -quant.high
        self.pow2 = is_power_of_two(quant)
        if ranges is Ranges.LEARNED and not self.pow2:
            self.log_factor = nn.Parameter(torch.zeros(len(quant.scale)))
            return
        scale, zero = (np.asarray(v, np.float64) for v in (quant.scale, quant.zero_point))
        low, high = self._ends(spread)
        for name, end, code in (("low_part", low, quant.low), ("high_part", high, quant.high)):
            wanted = torch.from_numpy((code - zero) * scale)
            part = torch.where(end == 0, 1.0, wanted / torch.where(end == 0, 1.0, end))
            self.register_buffer(name, part)

    def _ends(self, spread: Tensor) -> tuple[Tensor, Tensor]:
        """The minimum and maximum, or -+ the largest magnitude if symmetric: f64 [granules]."""
        rows = spread.detach().double()
        rows = rows if self.calibrated.axis is not None else rows.reshape(1, -1)
        low, high = rows.amin(dim=1).clamp(max=0), rows.amax(dim=1).clamp(min=0)
        if self.symmetric:
            high = torch.maximum(-low, high)
            low = -high
        return low, high

    def grid(self, spread: Tensor, least_scale: Tensor) -> Grid:
        """`least_scale` f64 [N]: below it a bias would not fit (section 1)."""
        if self.calibrated.axis is None:
            least_scale = least_scale.amax().reshape(1)
        base = Grid.of(self.calibrated, spread.device)
        if hasattr(self, "log_factor"):
            scale = base.scale * torch.exp(cast("Tensor", self.log_factor))
            return Grid(torch.maximum(scale, least_scale.float()), base.zero, *self._rest())
        low, high = self._ends(spread)
        low, high = low * self.low_part, high * self.high_part
        wide = torch.maximum((high - low) / (base.high - base.low), least_scale)
        wide = torch.where(wide == 0, 1.0, wide)
        if self.pow2:
            wide = torch.exp2(torch.ceil(torch.log2(wide)))
        if self.symmetric:
            zero = torch.zeros_like(wide)
        else:
            zero = torch.round(base.low - low / wide).clamp(base.low, base.high)
        return Grid(wide.float(), zero.float(), *self._rest())

    def _rest(self) -> tuple[int, int, int | None]:
        return self.calibrated.low, self.calibrated.high, self.calibrated.axis
