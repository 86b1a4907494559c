"""Tracked values about images: zeros around one, and the places of its maxima."""

from __future__ import annotations

from dataclasses import dataclass

from qbnnc.frontend.program.locations import Place
from qbnnc.ir.graph import Value


@dataclass(frozen=True, slots=True, eq=False)
class Padded:
    """x with zeros around its last two axes: (top, left, bottom, right).

    A convolution takes them as its own padding.
    """

    x: Value
    padding: tuple[int, int, int, int]
    place: Place


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
