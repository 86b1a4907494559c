"""The instructions of noise, and of weights and biases that are made of noise."""

from __future__ import annotations

from dataclasses import dataclass

from qbnnc.runtime.program import Buffer, Instruction

_WORK_OF_A_WEIGHT = 100.0  # in multiplications of a convolution


@dataclass(frozen=True, slots=True, kw_only=True)
class EpsCodes(Instruction):
    """Noise: table[lane], i8, in the order of the lanes. The scratch space holds some lanes."""

    scratch: Buffer
    table: int
    stream: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleWeight(Instruction):
    """A sampled weight in the layout of Convolve, or a sampled bias (depth 1, item 4).

    `mu` and `sigma` i8 have the layout of the result. The noise of place k of channel n is
    eps[rows[k] + columns[n]], or eps[rows[k] + columns[element]] if column_step is 1. If rows[k] is
    -1, the place is padding, 0.

    `columns` i32 has a number for each element if column_step is 1, otherwise `step` equal numbers
    for each channel. `ratio` i32 and `divisor` f32 follow granule_step in the same way. `zeros` i32
    has `step` equal numbers for each channel.
    """

    eps: Buffer
    scratch: Buffer
    mu: int
    sigma: int
    rows: int
    columns: int
    column_step: int
    ratio: int
    divisor: int
    granule_step: int
    zeros: int
    low: int
    high: int
    groups: int
    padded: int  # channels of a group
    depth: int  # K with padding
    block: int
    step: int
    item: int

    @property
    def work(self) -> float:
        return _WORK_OF_A_WEIGHT * self.groups * self.padded * self.depth


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawWeight(Instruction):
    """Noise and a sampled weight in one, in the panels of Convolve.

    Channel n has the lanes from n * `lanes` on. A column of channels is made at a time, as
    `drawing.draw_column` describes it: `table` and `places` have their meaning there. `straight`
    says that codes take the noise in its order, and then there are no places. `affine` says that
    some zeros are not 0: then the codes are cleared where `rows` has -1, which is padding. Other
    fields have their meaning in SampleWeight; `ratio`, `divisor` and `zeros` have K_BLOCK equal
    numbers for each channel. The scratch space holds the noise of two columns.
    """

    scratch: Buffer
    table: int
    stream: int
    lanes: int
    places: int
    straight: int
    rows: int
    affine: int
    mu: int
    sigma: int
    ratio: int
    divisor: int
    zeros: int
    low: int
    high: int
    groups: int
    filters: int
    padded: int
    depth: int

    @property
    def work(self) -> float:
        return _WORK_OF_A_WEIGHT * self.groups * self.padded * self.depth


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldBias(Instruction):
    """bias + terms - input_zero * sum_k weights[k] for each channel, i32 [groups][padded].

    A `depth` of 0 leaves out the sum. `block` and `step` are those of the weights' Layout.
    """

    bias: Buffer
    weights: Buffer
    terms: int
    input_zero: int
    groups: int
    padded: int
    depth: int
    block: int
    step: int
