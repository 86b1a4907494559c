"""Rules of noise and sampled weights."""

from __future__ import annotations

from qbnnc.runtime.families.sampled_weights.instructions import (
    DrawWeight,
    EpsCodes,
    FoldBias,
    SampleWeight,
)
from qbnnc.runtime.families.sampled_weights.kernels import WORDS
from qbnnc.runtime.packing import K_BLOCK, PANEL
from qbnnc.runtime.program import Instruction, Place
from qbnnc.runtime.verifier.line import Line, Rule
from qbnnc.support.table import Table

RULES = Table[type[Instruction], Rule]()
_LANES = 1 << 16  # of a table of noise, which any lane is an index of


@RULES.of(EpsCodes)
def eps_codes(line: Line) -> None:
    line.positive("size")
    _expect_of_a_sample(line)
    line.constants("table", _LANES, alignment=1)
    line.scratch(8 * WORDS)
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
    _codes(line, size, channels)
    of_columns = size if line.flag("column_step") else channels
    furthest = line.indices("rows", line.depth, -1), line.indices("columns", of_columns, 0)
    line.read("eps", max(0, furthest[0]) + furthest[1] + 1)
    line.scratch(line.block * line.step)
    line.write(line.item * size, alignment=line.item)


@RULES.of(DrawWeight)
def draw_weight(line: Line) -> None:
    """The noise of a line is read in k-blocks from its first code's, or just before the noise."""
    line.positive("channels taps groups filters padded depth")
    _expect_of_a_sample(line)
    fits = line.filters <= line.padded < line.filters + 8 and line.padded % 8 == 0
    line.require(fits, f"{line.filters} channels are padded to {line.padded}")
    line.require(line.depth % K_BLOCK == 0, "the depth is no whole number of k-blocks")
    size, noise = line.groups * line.padded * line.depth, line.channels * line.taps
    _codes(line, size, line.groups * line.padded * K_BLOCK)
    line.require(
        not line.flag("simple") or line.granule_step == 0,
        "a simple weight has ratios for each element",
    )
    line.require(
        line.indices("rows", line.depth, -1) < noise, "a code takes noise that does not exist"
    )
    line.constants("table", _LANES, alignment=1)
    line.scratch(8 * (noise // 4 + 2) + PANEL * (noise + K_BLOCK))
    line.write(size)


@RULES.of(FoldBias)
def fold_bias(line: Line) -> None:
    line.positive("groups padded block step")
    line.natural("depth")
    _expect_of_a_sample(line)
    line.require(line.depth % line.step == 0, "the depth is no whole number of steps")
    channels = line.groups * line.padded
    line.constants("terms", 4 * channels)
    line.read("bias", 4 * channels, alignment=4)
    if line.depth:
        line.require(
            line.operand("weights").place is not Place.CONSTANT, "the weights of a sum are constant"
        )
        line.read("weights", channels * line.depth)
    line.write(4 * channels, alignment=4)


def _expect_of_a_sample(line: Line) -> None:
    line.require(
        line.operand("output").place is Place.SAMPLE,
        "the output does not vary with the sample alone",
    )


def _codes(line: Line, size: int, channels: int) -> None:
    """State means, standard deviations, granules and zero points; `channels` counts repetitions."""
    line.constants("mu", size, alignment=1)
    line.constants("sigma", size, alignment=1)
    granules = size if line.flag("granule_step") else channels
    line.constants("ratio", 4 * granules)
    line.constants("divisor", 4 * granules)
    line.constants("zeros", 4 * channels)
