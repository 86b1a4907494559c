"""The instructions of layers whose input is a value of the row times a dropout mask.

A unit is what one lane of the mask keeps or drops: a channel of an image, or one element. The sums
of a layer are linear in its units. So the sums of a sample are those of all units, less what the
dropped units add; or those of no unit, and what the kept ones add.
"""

from __future__ import annotations

from dataclasses import dataclass

from qbnnc.runtime.families.contraction.instructions import Epilogue
from qbnnc.runtime.program import Buffer, Instruction

# In multiplications of a convolution, fitted to measured times (docs/runtime.md).
WORK_OF_A_PAIR = 3.0  # a product of two taps and its sum, for one output
WORK_OF_A_SUM = 4.0  # a number of a table that is read and added
WORK_OF_AN_END = 10.0  # a sum that is requantised and stored
WORK_OF_A_LANE = 30.0  # a lane of the mask that is drawn, compared and listed


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitTable(Instruction):
    """What each unit adds to each sum: int32 [units][stride / 4], then a flag u8 for each unit.

    A flag is 1 if any code of the unit is not `zero`. The rows of other units are not written.

    The input lies as [height][width][channels]. It is copied to the scratch space, as int16
    code - zero, into planes [channels][plane_height][plane_width] that are 0 elsewhere. A unit has
    `unit` numbers of them. The operand of a sum has `segments` runs of `pairs` pairs of numbers,
    which begin at pixel_offsets[p] + run_offsets[s] of the unit, in bytes. `weights` are constant
    int16 [units][blocks of 16 filters][segments][pairs][16][2].
    """

    input: Buffer
    scratch: Buffer
    weights: int
    zero: int
    channels: int
    height: int
    width: int
    top: int
    left: int
    plane_height: int
    plane_width: int
    units: int
    unit: int
    segments: int
    pairs: int
    run_offsets: int
    pixel_offsets: int
    pixels: int
    filters: int
    stride: int

    @property
    def work(self) -> float:
        products = self.units * self.pixels * self.segments * self.pairs * self.filters
        return WORK_OF_A_PAIR * products

    @property
    def form(self) -> str:
        taps = 2 * self.segments * self.pairs
        return f"{self.units} units of {taps} taps, {self.pixels}x{self.filters}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskedSums(Instruction):
    """A layer's sums from its table: `base` less the rows of the listed units, or plus them.

    A unit is listed if lane ^ flip < limit and its flag is 1. `base` has a sum for each of the
    `elements` [pixels][filters]; with `adds` it is constant, one for each filter, repeated beyond
    the filters by a strip. `factor` is repeated so too. Lists are made for `samples` at a time.
    Element n of pixel p of the output is n * channel_step + p * pixel_step.
    """

    base: Buffer
    table: Buffer
    scratch: Buffer
    stream: int
    shared: int
    flip: int
    limit: int
    adds: int
    units: int
    stride: int
    elements: int
    filters: int
    samples: int
    factor: int
    epilogue: Epilogue
    zero: int
    low: int
    high: int
    channel_step: int
    pixel_step: int

    @property
    def work(self) -> float:
        listed = self.units * self.limit / (1 << 16)
        sums = self.elements * (WORK_OF_A_SUM * listed + WORK_OF_AN_END)
        return sums + WORK_OF_A_LANE * self.units

    @property
    def form(self) -> str:
        share = self.limit / (1 << 16)
        kind = "kept ones are added" if self.adds else "dropped ones are subtracted"
        return f"table of {self.units} units, {kind}, {100 * share:.0f} % of them"
