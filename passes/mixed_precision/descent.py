"""The order in which bits are taken away: first the least predicted cost for a bit saved."""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from qbnnc.passes.mixed_precision.layers import Kind, Layer
from qbnnc.passes.options import Quantisation

LEAST: Final = 2
_MEASURED: Final = (4, 3, 2)


@dataclass(frozen=True, slots=True)
class Width:
    """A width that can shrink: each of the layer's numbers of this kind has `width` bits."""

    layer: Layer
    kind: Kind
    width: int

    @property
    def measured(self) -> tuple[int, ...]:
        """The widths at which the cost is measured; between them it is interpolated."""
        return tuple(w for w in _MEASURED if w < self.width)


@dataclass(frozen=True, slots=True)
class Move:
    """A step to one bit less, `width`; `cost` is the predicted divergence in nats."""

    layer: Layer
    kind: Kind
    width: int
    cost: float

    def applied(self, quantisation: Quantisation) -> Quantisation:
        """Return the same choices with the layer's new width."""
        bits = self.kind.changed(self.layer.bits(quantisation), self.width)
        return self.layer.changed(quantisation, bits)


def cost_curve(measured: Mapping[int, float], width: int) -> dict[int, float]:
    """The cost of each width from `width` down to 2, interpolated from costs measured at a few.

    The cost is 0 at `width`. It is geometric between measured widths. Above them it grows 4 times
    for each bit less, because the error of rounding has 4 times the variance. A cost is never less
    than at more bits, where a smaller one is noise.
    """
    curve = {width: 0.0}
    for bits in range(width - 1, LEAST - 1, -1):
        below = max((w for w in measured if w <= bits), default=bits)
        above = min((w for w in measured if w > bits), default=None)
        cost, step = measured.get(below, 0.0), 4.0
        if above is not None and below != bits and measured[above] > 0 and math.isfinite(cost):
            step = max(1.0, (cost / measured[above]) ** (1 / (above - below)))
        curve[bits] = max(curve[bits + 1], cost / step ** (bits - below))
    return curve


def ordered_moves(
    widths: Sequence[Width], curves: Sequence[Mapping[int, float]]
) -> tuple[Move, ...]:
    """All single-bit moves down to 2 bits, always the one that costs least for each bit it saves.

    Among equal moves the one that saves most comes first, then the earlier layer's. The cost of a
    move is the rise of the layer's own curve: costs of different layers are taken to add up.
    """
    queue = [_entry(number, w, w.width, curves) for number, w in enumerate(widths)]
    heapq.heapify(queue)
    moves = []
    while queue:
        _, _, number, bits = heapq.heappop(queue)
        if bits == LEAST:
            continue
        one = widths[number]
        moves.append(Move(one.layer, one.kind, bits - 1, _added(curves[number], bits)))
        heapq.heappush(queue, _entry(number, one, bits - 1, curves))
    return tuple(moves)


def _entry(
    number: int, width: Width, bits: int, curves: Sequence[Mapping[int, float]]
) -> tuple[float, int, int, int]:
    numbers = width.layer.numbers(width.kind)
    cost = _added(curves[number], bits) if bits > LEAST else math.inf
    return cost / numbers, -numbers, number, bits


def _added(curve: Mapping[int, float], bits: int) -> float:
    after = curve[bits - 1]
    return after if math.isinf(after) else after - curve[bits]
