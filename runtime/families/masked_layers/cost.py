"""The cost of a layer under a dropout mask in each form, and the choice of one."""

from __future__ import annotations

from math import prod
from typing import NamedTuple

from qbnnc.runtime.families.dropout.lowering import LARGEST_LANE, lanes_flipped, least_kept
from qbnnc.runtime.families.masked_layers.forms import MaskedForm
from qbnnc.runtime.families.masked_layers.kernels.masked_sums import WHOLE
from qbnnc.runtime.families.masked_layers.units import MaskedLayer
from qbnnc.runtime.layout import round_up
from qbnnc.runtime.lowering import Lowering

_LINE = 64  # bytes of a cache line
TABLE_BYTES = 1 << 20  # of the tables of a row, so that they stay in the L2 cache


class Listing(NamedTuple):
    """A unit is listed if lane ^ flip < limit; both fit into 16 bits."""

    flip: int
    limit: int


def listing(layer: MaskedLayer) -> tuple[Listing, bool]:
    """Return the lanes that are listed, and whether these units are kept, not dropped.

    The fewer ones are listed: a kept lane has lane ^ flip >= least, which is
    lane ^ flip ^ 65535 < 65536 - least.
    """
    least, flip = least_kept(layer.mask), lanes_flipped(layer.mask)
    if 2 * least > LARGEST_LANE + 1:
        return Listing(flip ^ LARGEST_LANE, LARGEST_LANE + 1 - least), True
    return Listing(flip, least), False


def row_bytes(layer: MaskedLayer) -> int:
    """Return the bytes of a unit's row: an odd number of cache lines.

    So the strips of units lie in different sets of a cache. The last block of filters is stored
    whole.
    """
    elements = prod(layer.output_shape)
    lines = round_up(elements + WHOLE - 1, WHOLE) * 4 // _LINE
    return (lines | 1) * _LINE


def form_of(lowering: Lowering, layer: MaskedLayer) -> MaskedForm:
    """Choose the form of a layer, unless one is forced."""
    if lowering.masked_form is not None:
        return lowering.masked_form
    return MaskedForm.DIRECT
