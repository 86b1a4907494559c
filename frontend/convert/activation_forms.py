"""A form of activations that few ops read: the batch merged with axes beside it."""

from __future__ import annotations

from dataclasses import dataclass

from qbnnc.ir.graph import Value


@dataclass(frozen=True, slots=True, eq=False)
class Merged:
    """An activation whose torch axis `axis` is [before, batch, after], merged into one.

    `value` has torch's other axes in order, with `before` and `after` in the place of the merged
    one. Either is left out if it is 1.
    """

    value: Value
    axis: int
    before: int
    after: int
