"""The cost of a layer under a dropout mask in each form, and the choice of one.

Costs are in multiplications of a convolution, for one row of a prediction.
"""

from __future__ import annotations

from functools import cache
from math import prod
from pathlib import Path
from typing import NamedTuple

from qbnnc.ir.ops.base import codes_of
from qbnnc.runtime.families.contraction import winograd
from qbnnc.runtime.families.contraction.lowering import needs_wide
from qbnnc.runtime.families.dropout.lowering import LARGEST_LANE, lanes_flipped, least_kept
from qbnnc.runtime.families.masked_layers import instructions as ins
from qbnnc.runtime.families.masked_layers.forms import MaskedForm
from qbnnc.runtime.families.masked_layers.geometry import WHOLE
from qbnnc.runtime.families.masked_layers.planes import planes_of
from qbnnc.runtime.families.masked_layers.units import MaskedLayer
from qbnnc.runtime.isa import Isa, chosen
from qbnnc.runtime.layout import K_BLOCK, round_up
from qbnnc.runtime.lowering import Lowering
from qbnnc.runtime.packing import NARROW

MOST_SUMS = 8 << 20  # bytes of the sums of a row
_LINE = 64  # bytes of a cache line
_L2_BYTES = 1 << 20  # where the system does not tell

# Of the direct form, in multiplications of a convolution.
_WINOGRAD = 0.6  # of the products of the plain form
_WORK_OF_AN_END = 40.0
_WORK_OF_A_LANE = 50.0
_WORK_OF_A_CODE = 5.0


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
    """Choose the form of a layer, unless one is forced: the one that costs the least."""
    forced = lowering.masked_form
    if forced is not None:
        return forced if exists(layer, forced) else MaskedForm.DIRECT
    cost = costs(lowering, layer)
    return min(cost, key=lambda form: cost[form])


def costs(lowering: Lowering, layer: MaskedLayer) -> dict[MaskedForm, float]:
    """Estimate each form that exists and is small enough, for one row and all its samples."""
    planes, draws = planes_of(layer), lowering.copies(layer.node)
    filters, elements, units = layer.output_shape[0], prod(layer.output_shape), layer.units
    drawn = listing(layer)
    listed, taps = units * drawn.limit / (LARGEST_LANE + 1), planes.weights.shape[2:]
    ends = ins.WORK_OF_AN_END * elements + ins.WORK_OF_A_LANE * units
    direct = _direct(lowering, layer)
    found = {MaskedForm.DIRECT: draws * direct}
    if (units + 1) * row_bytes(layer) <= table_bytes():
        pairs = units * elements * taps[0] * -(-taps[1] // 2)
        making = ins.WORK_OF_A_PAIR * pairs + ins.WORK_OF_A_UNIT * units
        sums = ins.WORK_OF_A_SUM * listed * elements
        found[MaskedForm.TABLE] = making + draws * (sums + ends)
    if exists(layer, MaskedForm.RECOMPUTE) and 4 * elements <= MOST_SUMS:
        depth = listed * taps[0] * round_up(taps[1], K_BLOCK)
        making = ins.WORK_OF_A_CODE * planes.size + direct
        products = ins.WORK_OF_A_PRODUCT * depth * elements * _time_of_a_product()
        products += ins.WORK_OF_A_WEIGHT * depth * filters
        found[MaskedForm.RECOMPUTE] = making + draws * (products + ends)
    return found


def _direct(lowering: Lowering, layer: MaskedLayer) -> float:
    """Estimate one sample of a layer on the codes that the mask leaves."""
    filters, _, *kernel = layer.weight.shape
    run, elements = round_up(layer.shape[0] * kernel[1], K_BLOCK), prod(layer.output_shape)
    products = elements // filters * round_up(filters, NARROW) * kernel[0] * run
    if winograd.wins(lowering, layer.node, layer.geometry, steps=1):
        products = int(_WINOGRAD * products)
    masked = _WORK_OF_A_LANE * layer.units + _WORK_OF_A_CODE * prod(layer.shape)
    return float(_time_of_a_product() * products + _WORK_OF_AN_END * elements + masked)


def _time_of_a_product() -> float:
    """Return the time of a product; it is 1 with the instruction set that costs are fitted to."""
    return Isa.AVX512_VNNI_256.products_per_second / chosen().products_per_second


@cache
def table_bytes() -> int:
    """Return the most bytes of the tables of a row, and of a chunk of rows: an L2 cache's."""
    file = Path("/sys/devices/system/cpu/cpu0/cache/index2/size")
    try:
        size = file.read_text().strip()
    except OSError:
        return _L2_BYTES
    return int(size[:-1]) << 10 if size[:-1].isdigit() and size.endswith("K") else _L2_BYTES
