"""Rules of layers under a dropout mask.

The numbers of a list are computed from the turn of the loop and cut to the units. So no number in
the arena leads a kernel to a row of a table.
"""

from __future__ import annotations

from qbnnc.runtime.families.contraction.instructions import Epilogue
from qbnnc.runtime.families.masked_layers.geometry import BLOCK, LANES, REPEATED, TURN, WHOLE
from qbnnc.runtime.families.masked_layers.instructions import (
    MaskedProducts,
    MaskedSums,
    UnitPlanes,
    UnitTable,
)
from qbnnc.runtime.layout import K_BLOCK, round_up
from qbnnc.runtime.program import Instruction, Place
from qbnnc.runtime.verifier.line import LARGEST_EXTENT, Line, Rule
from qbnnc.support.table import Table

RULES = Table[type[Instruction], Rule]()
_LANES = 1 << 16  # of a mask


@RULES.of(UnitTable)
def unit_table(line: Line) -> None:
    """A row is stored in blocks of 16 filters; pairs are read with up to one number beyond."""
    size = _planes(line)
    line.positive("pairs pixels filters stride")
    reach = (
        line.indices("pixel_offsets", line.pixels, 0)
        + line.indices("pair_offsets", line.pairs, 0)
        + 4
    )
    line.require(reach <= 2 * line.unit + 2, f"a sum reads {reach} bytes of a unit")
    line.require(line.stride % 4 == 0, "rows are no whole numbers apart")
    blocks = round_up(line.filters, BLOCK)
    last = (line.pixels - 1) * line.filters + blocks
    line.require(4 * last <= line.stride, f"a row of {4 * last} bytes reaches the next one")
    line.constants("unit_weights", 4 * line.units * blocks * line.pairs)
    line.constants("none", 4 * line.filters)
    line.flag("whole")
    line.scratch(2 * size + 2)
    form = (line.units, line.stride, line.pixels * line.filters)
    line.write(_table(line), alignment=4, form=form)


@RULES.of(UnitPlanes)
def unit_planes(line: Line) -> None:
    size = _planes(line)
    line.write(size + round_up(line.units, TURN), form=(line.units, line.unit))


@RULES.of(MaskedSums)
def masked_sums(line: Line) -> None:
    """Strips of whole vectors are read, and stored as codes, beyond the last element."""
    elements, form = round_up(line.elements, WHOLE), (line.units, line.stride, line.elements)
    line.positive("stride")
    line.require(line.stride % 4 == 0, "rows are no whole numbers apart")
    line.require(4 * elements <= line.stride, "a row reaches the next one")
    line.require(_table(line) <= LARGEST_EXTENT, "the table is too large")
    _masked(line, 4 * elements, elements - line.elements)
    line.read("table", _table(line), alignment=4, form=form)


@RULES.of(MaskedProducts)
def masked_products(line: Line) -> None:
    """Whole vectors of filters are read and stored; four codes are read at a time."""
    line.positive("unit k_blocks pixels")
    line.require(line.elements == line.pixels * line.filters, "the elements are not the positions'")
    reach = (
        line.indices("pixel_offsets", line.pixels, 0)
        + line.indices("k_offsets", line.k_blocks, 0)
        + K_BLOCK
    )
    line.require(reach < line.unit + K_BLOCK, f"a sum reads {reach} bytes of a unit")
    size, vectors = line.units * line.unit, round_up(line.filters, LANES)
    line.require(size <= LARGEST_EXTENT, "the planes are too large")
    line.constants("unit_weights", vectors * line.units * line.k_blocks * K_BLOCK, alignment=1)
    if line.shifts >= 0:
        line.constants("shifts", 4 * line.units * line.filters)
    shifts = 4 * (line.filters + WHOLE) * line.samples
    _masked(line, shifts + 4 * (line.elements + WHOLE), vectors - line.filters)
    form = (line.units, line.unit)
    line.read("planes", size + round_up(line.units, TURN), form=form)
    if line.operand("base").place is Place.CONSTANT:
        line.read("base", 4 * vectors, alignment=4, places=frozenset({Place.CONSTANT}))
    else:
        line.read("base", 4 * line.elements, 4 * (vectors - line.filters), alignment=4)


def _planes(line: Line) -> int:
    """State an image that is copied into planes; return the numbers of all planes."""
    line.positive("channels height width plane_height plane_width units unit")
    line.natural("top left")
    size = line.channels * line.plane_height * line.plane_width
    line.require(line.units * line.unit == size, "the units are not the planes")
    line.require(
        line.top < line.plane_height and line.left < line.plane_width,
        "the image begins beyond its planes",
    )
    line.read("input", line.channels * line.height * line.width)
    return size


def _table(line: Line) -> int:
    """Return the bytes of a table: a row for each unit, one more, and flags."""
    return (line.units + 1) * line.stride + round_up(line.units, TURN)


def _masked(line: Line, sums: int, beyond: int) -> None:
    """State the lists, and the output.

    `sums` are the bytes after the lists. `beyond` are the codes stored beyond the last one.
    """
    line.positive("units elements filters samples")
    line.flag("shared")
    line.flag("adds")
    line.require(0 <= line.flip < _LANES, f"flip is {line.flip}, which has more than 16 bits")
    line.require(0 <= line.limit < _LANES, f"limit is {line.limit}, which has more than 16 bits")
    line.require(line.elements % line.filters == 0, "the elements are no whole positions")
    lanes = round_up(line.units, TURN)
    scratch = 2 * lanes + (4 * lanes + 8) * line.samples + sums
    line.require(scratch <= LARGEST_EXTENT, "the lists are too large")
    line.constants("factor", 4 * (line.filters + REPEATED))
    line.scratch(scratch)
    _output(line, beyond)


def _output(line: Line, beyond: int) -> None:
    line.require(line.epilogue in set(Epilogue), f"epilogue {line.epilogue} does not exist")
    pixels, leaves = line.elements // line.filters, line.epilogue == Epilogue.DEQUANTIZE
    steps = (line.channel_step, line.pixel_step)
    orders = [(1, line.filters), (pixels, 1)] if leaves else [(1, line.filters)]
    line.require(steps in orders, f"the steps {steps} are of no known order")
    match line.epilogue:
        case Epilogue.ACCUMULATOR:
            line.write(4 * line.elements, alignment=4)
        case Epilogue.REQUANTIZE:
            line.write(line.elements, beyond)
        case _:
            line.write(line.elements, leaves=leaves)
