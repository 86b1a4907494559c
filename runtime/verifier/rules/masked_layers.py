"""Rules of layers under a dropout mask.

The numbers of a list are computed from the turn of the loop and cut to the units. So no number in
the arena leads a kernel to a row of a table.
"""

from __future__ import annotations

from qbnnc.runtime.families.contraction.instructions import Epilogue
from qbnnc.runtime.families.masked_layers.instructions import MaskedSums, UnitTable
from qbnnc.runtime.families.masked_layers.kernels.masked_sums import REPEATED, WHOLE
from qbnnc.runtime.families.masked_layers.kernels.pair_products import BLOCK
from qbnnc.runtime.families.masked_layers.kernels.unit_lists import TURN
from qbnnc.runtime.layout import round_up
from qbnnc.runtime.program import Instruction, Place
from qbnnc.runtime.verifier.line import LARGEST_EXTENT, Line, Rule
from qbnnc.support.table import Table

RULES = Table[type[Instruction], Rule]()
_LANES = 1 << 16


@RULES.of(UnitTable)
def unit_table(line: Line) -> None:
    """A row is stored in blocks of 16 filters; pairs are read with up to one number beyond."""
    line.positive("channels height width plane_height plane_width units unit pairs")
    line.positive("pixels filters stride")
    line.natural("top left")
    size = line.channels * line.plane_height * line.plane_width
    line.require(line.units * line.unit == size, "the units are not the planes")
    line.require(
        line.top < line.plane_height and line.left < line.plane_width,
        "the image begins beyond its planes",
    )
    reach = (
        line.indices("pixel_offsets", line.pixels, 0)
        + line.indices("pair_offsets", line.pairs, 0)
        + 4
    )
    line.require(reach <= 2 * line.unit + 2, f"a sum reads {reach} bytes of a unit")
    line.require(line.stride % 4 == 0, "rows are no whole numbers apart")
    last = (line.pixels - 1) * line.filters + round_up(line.filters, BLOCK)
    line.require(4 * last <= line.stride, f"a row of {4 * last} bytes reaches the next one")
    blocks = round_up(line.filters, BLOCK)
    line.constants("weights", 4 * line.units * blocks * line.pairs)
    line.scratch(2 * size + 2)
    line.read("input", line.channels * line.height * line.width)
    line.constants("none", 4 * line.filters)
    line.flag("whole")
    line.write(_table(line), alignment=4, form=(line.units, line.stride))


@RULES.of(MaskedSums)
def masked_sums(line: Line) -> None:
    """Strips of whole vectors are read, and stored as codes, beyond the last element."""
    line.positive("units stride elements filters samples")
    line.flag("shared")
    line.require(0 <= line.flip < _LANES, f"flip is {line.flip}, which has more than 16 bits")
    line.require(0 <= line.limit < _LANES, f"limit is {line.limit}, which has more than 16 bits")
    line.require(line.stride % 4 == 0, "rows are no whole numbers apart")
    elements, turns = round_up(line.elements, WHOLE), -(-line.units // TURN)
    beyond = elements - line.elements
    line.require(line.elements % line.filters == 0, "the elements are no whole positions")
    line.require(4 * elements <= line.stride, "a row reaches the next one")
    line.require(
        max(_table(line), 8 * line.samples * line.units) <= LARGEST_EXTENT,
        "the table or the lists are too large",
    )
    line.flag("adds")
    flags, form = TURN * turns - line.units, (line.units, line.stride)
    line.read("table", _table(line), flags, alignment=4, form=form)
    line.constants("factor", 4 * (line.filters + REPEATED))
    lists = (2 + 4 * line.samples) * TURN * turns
    line.scratch(lists + 8 * line.samples + 4 * elements)
    _output(line, beyond)


def _table(line: Line) -> int:
    """Return the bytes of a table: a row for each unit, one more, and flags."""
    return (line.units + 1) * line.stride + line.units


def _output(line: Line, beyond: int) -> None:
    line.require(line.epilogue in set(Epilogue), f"epilogue {line.epilogue} does not exist")
    pixels, leaves = line.elements // line.filters, line.epilogue == Epilogue.DEQUANTIZE
    steps = (line.channel_step, line.pixel_step)
    orders = [(1, line.filters), (pixels, 1)] if leaves else [(1, line.filters)]
    line.require(steps in orders, f"the steps {steps} are of no known order")
    line.require(
        (line.operand("output").place is Place.OUT) == leaves,
        "float32 numbers go elsewhere than to an output",
    )
    match line.epilogue:
        case Epilogue.ACCUMULATOR:
            line.write(4 * line.elements, alignment=4)
        case Epilogue.REQUANTIZE:
            line.write(line.elements, beyond)
        case _:
            line.write(line.elements)
