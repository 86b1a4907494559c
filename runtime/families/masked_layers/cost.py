"""The cost of a layer under a dropout mask in each form, and the choice of one.

Costs are in multiplications of a convolution, for one row of a prediction.
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple

from qbnnc.ir.ops.base import codes_of
from qbnnc.runtime.families.contraction.lowering import needs_wide
from qbnnc.runtime.families.dropout.lowering import LARGEST_LANE, lanes_flipped, least_kept
from qbnnc.runtime.families.masked_layers.forms import MaskedForm
from qbnnc.runtime.families.masked_layers.kernels.masked_sums import WHOLE
from qbnnc.runtime.families.masked_layers.units import MaskedLayer
from qbnnc.runtime.isa import chosen
from qbnnc.runtime.layout import round_up
from qbnnc.runtime.lowering import Lowering

_LINE = 64  # bytes of a cache line
TABLE_BYTES = 1 << 20  # of the tables of a row, so that they stay in the L2 cache


class Listing(NamedTuple):
    """A unit is listed if lane ^ flip < limit; both fit into 16 bits.

    `adds`: the units that are kept are listed, and added to the sums of none.
    """

    flip: int
    limit: int
    adds: bool


def listing(layer: MaskedLayer) -> Listing:
    """Return the lanes of the units that are listed: of those that are dropped or kept, the fewer.

    A kept lane has lane ^ flip >= least, which is lane ^ flip ^ 65535 < 65536 - least.
    """
    least, flip = least_kept(layer.mask), lanes_flipped(layer.mask)
    if 2 * least > LARGEST_LANE + 1:
        return Listing(flip ^ LARGEST_LANE, LARGEST_LANE + 1 - least, adds=True)
    return Listing(flip, least, adds=False)


def row_bytes(layer: MaskedLayer) -> int:
    """Return the bytes of a unit's row: an odd number of cache lines.

    So the strips of units lie in different sets of a cache. The last block of filters is stored
    whole.
    """
    elements = prod(layer.output_shape)
    lines = round_up(elements + WHOLE - 1, WHOLE) * 4 // _LINE
    return (lines | 1) * _LINE


def exists(layer: MaskedLayer, form: MaskedForm) -> bool:
    """Tell whether a layer has a form: products of codes take no zero points of weights."""
    x, weight = (codes_of(value.type) for value in layer.node.inputs[:2])
    products = not any(weight.zero_point) and not needs_wide(chosen(), x, weight)
    return form is not MaskedForm.RECOMPUTE or products


def form_of(lowering: Lowering, layer: MaskedLayer) -> MaskedForm:
    """Choose the form of a layer, unless one is forced."""
    forced = lowering.masked_form
    if forced is not None:
        return forced if exists(layer, forced) else MaskedForm.DIRECT
    return MaskedForm.DIRECT
