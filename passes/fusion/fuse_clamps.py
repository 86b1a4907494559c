"""Bring every clamp to the layer whose requantisation can do it for nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace

from qbnnc.ir.graph import Builder, Graph, Node, Value
from qbnnc.ir.ops import Clamp, Mask, MaxPool2d, Op, Reshape
from qbnnc.passes.fusion.peephole import rewrite_pairs


@dataclass(frozen=True, slots=True)
class FuseClamps:
    """1. Clamp(Clamp(x)) is one clamp, when nothing else reads the inner one.
    2. A clamp after a max pool or reshape that it alone reads moves before it: these select or
       move elements, and a clamp is monotone.
    3. A clamp that keeps 0, after a dropout mask that it alone reads, moves before it, as a dropped
       element is 0 on either side. The bounds are divided by the mask's scale, and swapped if that
       is below 0. Declined if the scale is 0. Such a clamp also moves before moves of elements
       (transposes, pads, ...), whose new elements are 0.

    The oracle is the same bit for bit, but for rule 3 with a bound that is neither 0 nor absent.
    """

    name: str = "fuse-clamps"

    def __call__(self, graph: Graph, /) -> Graph:
        return rewrite_pairs(graph, _moves, _move)


def _moves(before: Node, after: Node) -> bool:
    match before.op, after.op:
        case Clamp() as inner, Clamp() as outer:
            return _merged(inner, outer) is not None
        case op, Clamp() as clamp if op.commutes_with_clamp and op.grid_factor != 0:
            return clamp.keeps_zero or _needs_no_zero(op)
    return False


def _needs_no_zero(op: Op) -> bool:
    """Whether any clamp may move before an op.

    Transposes and slices would allow that too. They do not, so that compiled bits stay as they are.
    """
    return isinstance(op, MaxPool2d | Reshape)


def _move(before: Node, after: Node, build: Builder) -> Value:
    assert isinstance(after.op, Clamp)
    x, clamp = before.inputs[0], after.op
    match before.op:
        case Clamp() as inner:
            merged = _merged(inner, clamp)
            assert merged is not None
            return build.emit(merged, x, loc=after.loc, name=after.output.name)
        case Mask(scale=scale):
            clamp = clamp.scaled(1 / scale)
    moved = build.emit(clamp, x, loc=after.loc, name=after.output.name)
    rest = (moved, *before.inputs[1:])
    return build.emit(before.op, *rest, loc=before.loc, name=before.output.name)


def _merged(inner: Clamp, outer: Clamp) -> Clamp | None:
    """One clamp that does both; None if their ranges are disjoint."""
    lows = [c.low for c in (inner, outer) if c.low is not None]
    highs = [c.high for c in (inner, outer) if c.high is not None]
    low, high = max(lows, default=None), min(highs, default=None)
    if low is not None and high is not None and low > high:
        return None
    return replace(outer, low=low, high=high)
