"""Forms of activations that few ops read: places of maxima, and a batch that is merged."""

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


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """The places of the maxima of a max pool over x [C, ...]: the indices that torch gives.

    `pooled` are the extents of its result. `apart` says that its windows, of the size `kernel`, lie
    side by side inside x.
    """

    x: Value
    kernel: tuple[int, ...]
    pooled: tuple[int, ...]
    apart: bool
