"""The instructions of layers whose input is a value of the row times a dropout mask.

A unit is what one lane of the mask keeps or drops: a channel of an image, or one element. The sums
of a layer are linear in its units. So the sums of a sample are those of all units, less what the
dropped units add; or those of no unit, and what the kept ones add.
"""

from __future__ import annotations

from dataclasses import dataclass

from qbnnc.runtime.families.contraction.instructions import Epilogue
from qbnnc.runtime.program import Buffer, Instruction

# In multiplications of a convolution, fitted to LeNet-5, an MLP and ResNet-18 with VNNI.
WORK_OF_A_PAIR = 5.0  # a product of two taps and its sum, for one output
WORK_OF_A_UNIT = 3000.0  # a unit of a table, besides its products
WORK_OF_A_CODE = 130.0  # a code that is copied into a plane
WORK_OF_A_SUM = 8.0  # a number of a table that is read and added
WORK_OF_A_PRODUCT = 1.3  # a product of a listed unit
WORK_OF_A_WEIGHT = 3.0  # a weight of a listed unit, which is read again for each copy
WORK_OF_AN_END = 20.0  # a sum that is requantised and stored
WORK_OF_A_LANE = 60.0  # a lane of the mask that is drawn, compared and listed


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitTable(Instruction):
    """A table of what each unit adds to each sum: int32 [units + 1][stride / 4], then flags.

    A flag u8 of a unit is 1 if any of its codes is not `zero`. The rows of other units are not
    written. The last row has the sums to begin with: those of no unit, or with `whole` those of all
    units. `none` int32 [filters] are the sums of no unit, which are those of every position.

    The input lies as [height][width][channels]. It is copied to the scratch space, as int16
    code - zero, into planes [channels][plane_height][plane_width] that are 0 elsewhere. A unit has
    `unit` numbers of them. Pair k of the operand of sum p begins at byte
    pixel_offsets[p] + pair_offsets[k] of the unit. `unit_weights` are constant int16
    [units][blocks of 16 filters][pairs][16][2].
    """

    input: Buffer
    scratch: Buffer
    unit_weights: int
    none: int
    whole: int
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
    pairs: int
    pair_offsets: int
    pixel_offsets: int
    pixels: int
    filters: int
    stride: int

    @property
    def work(self) -> float:
        products = self.units * self.pixels * self.pairs * self.filters
        return WORK_OF_A_PAIR * products + WORK_OF_A_UNIT * self.units

    @property
    def form(self) -> str:
        return f"{self.units} units of {2 * self.pairs} taps, {self.pixels}x{self.filters}"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitPlanes(Instruction):
    """The planes of a row u8 [channels][plane_height][plane_width], then a flag u8 for each unit.

    The input lies as [height][width][channels]. The planes are `zero` around it. A unit has `unit`
    codes of them. Its flag is 1 if any of them is not `zero`.
    """

    input: Buffer
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

    @property
    def work(self) -> float:
        return WORK_OF_A_CODE * self.units * self.unit

    @property
    def form(self) -> str:
        return f"{self.units} units of {self.unit} codes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Masked(Instruction):
    """The fields of a layer's sums in each form, which begin with the sums of the row.

    What the listed units add is subtracted, or added with `adds`. A unit is listed if
    lane ^ flip < limit and its flag is 1. Lists are made for `samples` at a time. There are
    `elements` sums [pixels][filters]. `factor` has a number for each filter, and then as many of
    them again as the widest strip has. Element n of pixel p of the output is
    n * channel_step + p * pixel_step.
    """

    scratch: Buffer
    stream: int
    shared: int
    flip: int
    limit: int
    adds: int
    units: int
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
    def listed(self) -> float:
        """The units that are listed on average, if none is zero."""
        return self.units * self.limit / (1 << 16)

    @property
    def listing(self) -> str:
        """The units that are listed, in words."""
        share = 100 * self.limit / (1 << 16)
        kind = "kept ones are added" if self.adds else "dropped ones are subtracted"
        return f"{kind}, {share:.0f} % of {self.units}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskedSums(Masked):
    """A layer's sums from a UnitTable: its last row less the rows of the listed units."""

    table: Buffer
    stride: int

    @property
    def work(self) -> float:
        sums = self.elements * (WORK_OF_A_SUM * self.listed + WORK_OF_AN_END)
        return sums + WORK_OF_A_LANE * self.units

    @property
    def form(self) -> str:
        return f"table: {self.listing}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskedProducts(Masked):
    """A layer's sums from `base`, less the products of the listed units in a UnitPlanes.

    `base` are the sums of the row, int32 [pixels, filters]; with `adds` they are the constant sums
    of no unit, one for each filter. Four codes of position p and of k-block k begin at byte
    pixel_offsets[p] + k_offsets[k] of a unit. `unit_weights` are constant int8 [vectors of filters]
    [units][k_blocks][filters of a vector][4]. `shifts` int32 [units][filters] are what the zero
    point of the input adds to a unit's products (-1: nothing).
    """

    planes: Buffer
    base: Buffer
    unit: int
    unit_weights: int
    shifts: int
    k_blocks: int
    k_offsets: int
    pixels: int
    pixel_offsets: int

    @property
    def work(self) -> float:
        products = 4.0 * self.listed * self.k_blocks * self.elements
        weights = 4.0 * self.listed * self.k_blocks * self.filters
        ends = WORK_OF_AN_END * self.elements + WORK_OF_A_LANE * self.units
        return WORK_OF_A_PRODUCT * products + WORK_OF_A_WEIGHT * weights + ends

    @property
    def form(self) -> str:
        return f"products of {4 * self.k_blocks} taps: {self.listing}"
