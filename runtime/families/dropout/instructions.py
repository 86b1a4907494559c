"""Dropout masks, and the codes that they keep."""

from __future__ import annotations

from dataclasses import dataclass

from qbnnc.runtime.program import Buffer, Instruction


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepMask(Instruction):
    """lane ^ flip >= threshold: lanes drawn as [channels][pixels], kept as [pixels][channels].

    `flip` is 0, or 65535 for an inverted mask, which keeps low lanes.

    Scratch is room for the lanes, and for the mask in the order drawn.
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
    """lane ^ flip >= threshold ? code : zero, a lane for each of `size` codes, in the order drawn.

    Scratch is room for the lanes of `size`, rounded up to 16.
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
    """mask ? code : zero over [height][width][channels]; the steps are the mask's, 0 or more."""

    input: Buffer
    mask: Buffer
    zero: int
    height: int
    width: int
    channels: int
    step_y: int
    step_x: int
    step_channel: int
