"""The instructions of dropout: masks, and codes and weights that masks keep or drop."""

from __future__ import annotations

from dataclasses import dataclass

from qbnnc.runtime.program import Buffer, Instruction

_WORK_OF_A_WEIGHT = 20.0  # in multiplications of a convolution


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepMask(Instruction):
    """A dropout mask: lane ^ flip >= threshold for each element.

    Lanes are drawn as [channels][pixels]; the mask lies as [pixels][channels]. `flip` is 0, or
    65535 for an inverted mask, which keeps low lanes. The scratch space holds the lanes, and the
    mask in the order of the lanes.
    """

    scratch: Buffer
    stream: int
    threshold: int
    flip: int
    shared: int
    channels: int
    pixels: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop(Instruction):
    """A dropout mask and its Select in one: lane ^ flip >= threshold ? code : zero.

    Each of `size` codes has a lane, in the order of the lanes. The scratch space holds the lanes of
    `size`, rounded up to 16.
    """

    input: Buffer
    scratch: Buffer
    stream: int
    threshold: int
    flip: int
    zero: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Select(Instruction):
    """mask ? code : zero over [height][width][channels].

    The steps are those of the mask, 0 or more.
    """

    input: Buffer
    mask: Buffer
    zero: int
    height: int
    width: int
    channels: int
    step_y: int
    step_x: int
    step_channel: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DropWeight(Instruction):
    """mask ? code : zero of a weight in the layout of Convolve, or of a bias (DropConnect).

    The mask of byte k of channel n is mask[rows[k] + columns[n]]. If rows[k] is -1, the byte is
    padding, and is kept. `zeros` i32 has 4 equal bytes for each channel. A bias has 4 bytes k for
    each channel, and the zero 0. `depth` counts the bytes of a channel, and `step` those of a line.
    """

    input: Buffer
    mask: Buffer
    rows: int
    columns: int
    zeros: int
    groups: int
    padded: int  # channels of a group
    depth: int
    block: int
    step: int

    @property
    def work(self) -> float:
        return _WORK_OF_A_WEIGHT * self.groups * self.padded * self.depth
