"""Rules of dropout masks."""

from __future__ import annotations

from qbnnc.runtime.families.dropout.instructions import Drop, DropWeight, KeepMask, Select
from qbnnc.runtime.layout import CODES, round_up
from qbnnc.runtime.program import Instruction, Place
from qbnnc.runtime.verifier.line import ARENA_OR_CONSTANT, Line, Rule
from qbnnc.support.table import Table

RULES = Table[type[Instruction], Rule]()


@RULES.of(KeepMask)
def keep_mask(line: Line) -> None:
    line.positive("channels pixels")
    place = Place.SAMPLE if line.flag("shared") else Place.COPY
    line.require(
        line.operand("output").place is place, "the mask varies with other axes than it should"
    )
    size = line.channels * line.pixels
    line.scratch(8 * -(-size // 4) + size)
    line.write(size)


@RULES.of(Drop)
def drop(line: Line) -> None:
    """The kernel reads 16 codes and lanes at a time, and stores as many codes."""
    line.positive("size")
    beyond = round_up(line.size, CODES) - line.size
    line.scratch(2 * (line.size + beyond))
    line.read("input", line.size, beyond)
    line.write(line.size, beyond)


@RULES.of(Select)
def select(line: Line) -> None:
    """A mask for all pixels is read in whole vectors."""
    line.positive("height width channels")
    line.natural("step_y step_x step_channel")
    pixels = line.height * line.width
    one_for_all = (line.step_y, line.step_x, line.step_channel) == (0, 0, 1)
    beyond = line.beyond_vectors(line.channels) if one_for_all else 0
    line.read("input", pixels * line.channels, beyond)
    rows, columns = (line.height - 1) * line.step_y, (line.width - 1) * line.step_x
    line.read("mask", rows + columns + (line.channels - 1) * line.step_channel + 1, beyond)
    line.write(pixels * line.channels, beyond)


@RULES.of(DropWeight)
def drop_weight(line: Line) -> None:
    """Bytes are read where they are written, and one byte of the mask for each."""
    line.positive("groups padded depth block step")
    line.require(line.depth % line.step == 0, "the depth is no whole number of steps")
    line.require(line.padded % 4 == line.block % 4 == 0, "the channels are no whole vectors")
    channels = line.groups * line.padded
    line.constants("zeros", 4 * channels)
    furthest = line.indices("rows", line.depth, -1), line.indices("columns", channels, 0)
    line.read("mask", max(0, furthest[0]) + furthest[1] + 1)
    line.read("input", channels * line.depth, alignment=4, places=ARENA_OR_CONSTANT)
    line.write(channels * line.depth, alignment=4)
