"""What is drawn: masks, noise, and the weights made of noise."""

from __future__ import annotations

from dataclasses import dataclass

from qbnnc.runtime.program import Buffer, Instruction

_OF_A_WEIGHT = 100.0  # multiplications of a convolution in the time of drawing one weight


@dataclass(frozen=True, slots=True, kw_only=True)
class EpsCodes(Instruction):
    """table[lane], i8, in the order drawn; scratch is room for some of the lanes."""

    scratch: Buffer
    table: int
    stream: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleWeight(Instruction):
    """Codes of a sampled weight in the layout of Convolve, or of a bias (depth 1, item 4).

    `mu` and `sigma` i8 have the layout of the result, a Layout. The noise of place k of channel n
    is eps[rows[k] + columns[n]], or eps[rows[k] + columns[element]] with column_step 1; where
    rows[k] is -1 there is padding, 0. Of each element, or `step` times of each channel with
    column_step or granule_step 0: `columns` i32; `ratio` i32 and `divisor` f32. `zeros` i32 are
    `step` times of each channel.
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
        return _OF_A_WEIGHT * self.groups * self.padded * self.depth


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawWeight(Instruction):
    """Noise and the codes of a sampled weight in one, in the panels of Convolve.

    The noise of channel n are the lanes n * K and on, [channels][taps] (the window's places), and
    its K-th code is made of place rows[k] of [taps][channels]; -1 is padding, 0. The rest is as in
    SampleWeight; `simple`: all zeros are 0, and R and r are of channels. Scratch is room for a
    channel's lanes, and for the noise of a panel.
    """

    scratch: Buffer
    table: int
    stream: int
    channels: int
    taps: int
    rows: int
    mu: int
    sigma: int
    ratio: int
    divisor: int
    granule_step: int
    simple: int
    zeros: int
    low: int
    high: int
    groups: int
    filters: int
    padded: int
    depth: int

    @property
    def work(self) -> float:
        return _OF_A_WEIGHT * self.groups * self.padded * self.depth


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldBias(Instruction):
    """bias + terms - input_zero * sum_k weights[k] for each channel, i32 [groups][padded].

    Without a sum, `depth` is 0. `block` and `step` are those of the weights' Layout.
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
