"""Rules of noise and sampled weights."""

from __future__ import annotations

from qbnnc.runtime.families.sampled_weights.instructions import (
    DrawWeight,
    EpsCodes,
    FoldBias,
    SampleWeight,
)
from qbnnc.runtime.families.sampled_weights.noise import NoiseForm, noise_form
from qbnnc.runtime.isa import chosen
from qbnnc.runtime.layout import K_BLOCK, round_up
from qbnnc.runtime.program import Instruction, Place
from qbnnc.runtime.verifier.line import ARENA_OR_CONSTANT, Line, Rule
from qbnnc.support.table import Table

RULES = Table[type[Instruction], Rule]()


@RULES.of(EpsCodes)
def eps_codes(line: Line) -> None:
    line.positive("size")
    _expect_of_a_sample(line)
    _table(line)
    line.scratch(noise_form(chosen()).quad)
    line.write(line.size)


@RULES.of(SampleWeight)
def sample_weight(line: Line) -> None:
    """A line has `block` channels times `step`, and is made 8 numbers at a time."""
    line.positive("groups padded depth block step")
    _expect_of_a_sample(line)
    line.require(line.item in (1, 4), f"a code has {line.item} bytes")
    line.require(line.padded % 8 == line.block % 8 == 0, "the channels are no whole vectors")
    line.require(
        line.step in (1, K_BLOCK) and line.depth % line.step == 0,
        "the depth is no whole number of steps",
    )
    line.require(line.item == 1 or line.step == 1, "int32 codes have a step of more than 1")
    size = line.groups * line.padded * line.depth
    channels = line.groups * line.padded * line.step
    _codes(line, size, channels, size if line.flag("granule_step") else channels)
    of_columns = size if line.flag("column_step") else channels
    furthest = line.indices("rows", line.depth, -1), line.indices("columns", of_columns, 0)
    line.read("eps", max(0, furthest[0]) + furthest[1] + 1)
    line.scratch(line.block * line.step)
    line.write(line.item * size, alignment=line.item)


@RULES.of(DrawWeight)
def draw_weight(line: Line) -> None:
    """A column's noise has a quad for each line, and one more for lanes that no code takes."""
    line.positive("lanes groups filters padded depth")
    _expect_of_a_sample(line)
    fits = line.filters <= line.padded < line.filters + 8 and line.padded % 8 == 0
    line.require(fits, f"{line.filters} channels are padded to {line.padded}")
    line.require(line.depth % K_BLOCK == 0, "the depth is no whole number of k-blocks")
    line.require(line.lanes <= line.depth, "a channel has more lanes than codes")
    line.require(-128 <= line.low <= line.high <= 127, "codes do not fit int8")
    size, channels = line.groups * line.padded * line.depth, line.groups * line.padded * K_BLOCK
    lines, form = line.depth // K_BLOCK, noise_form(chosen())
    _codes(line, size + form.beyond(line.padded), channels, channels)
    _table(line)
    noise = form.quad * (lines + 1)
    if not line.flag("straight"):
        _places(line, form, noise, lines)
    if line.flag("affine"):
        line.constants("rows", 4 * line.depth)
    else:
        zero = line.indices("zeros", channels, 0) == 0 and line.low <= 0 <= line.high
        line.require(zero, "the padding is not 0")
    line.scratch(2 * noise)
    line.write(size)


def _places(line: Line, form: NoiseForm, noise: int, lines: int) -> None:
    """Lanes go to bytes of the noise (TABLE), or codes come from its quads (REGISTERS)."""
    if form is NoiseForm.TABLE:
        lanes = round_up(line.lanes, K_BLOCK)
        furthest = line.indices("places", lanes, 0) + K_BLOCK * (form.channels - 1) + 1
        line.require(furthest <= noise, "a lane goes beyond the noise")
        return
    places = line.values("places", 2 * K_BLOCK * lines)
    taken = [place for i, place in enumerate(places) if i % (2 * K_BLOCK) < K_BLOCK]
    line.require(
        min(taken) >= 0 and max(taken) + form.quad <= noise,
        "a code takes noise that does not exist",
    )


def _table(line: Line) -> None:
    line.constants("table", noise_form(chosen()).table().nbytes, alignment=1)


@RULES.of(FoldBias)
def fold_bias(line: Line) -> None:
    line.positive("groups padded block step")
    line.natural("depth")
    line.require(
        line.operand("output").place in (Place.SAMPLE, Place.FIXED), "the bias varies with the row"
    )
    line.require(line.depth % line.step == 0, "the depth is no whole number of steps")
    channels = line.groups * line.padded
    line.constants("terms", 4 * channels)
    line.read("bias", 4 * channels, alignment=4, places=ARENA_OR_CONSTANT)
    if line.depth:
        line.read("weights", channels * line.depth)
    line.write(4 * channels, alignment=4)


def _expect_of_a_sample(line: Line) -> None:
    line.require(
        line.operand("output").place is Place.SAMPLE,
        "the output does not vary with the sample alone",
    )


def _codes(line: Line, size: int, channels: int, granules: int) -> None:
    """State means, standard deviations, granules and zero points; `channels` counts repetitions."""
    line.constants("mu", size, alignment=1)
    line.constants("sigma", size, alignment=1)
    line.constants("ratio", 4 * granules)
    line.constants("divisor", 4 * granules)
    line.constants("zeros", 4 * channels)
