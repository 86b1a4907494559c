"""The instructions that quantise the input, requantise accumulators and dequantise outputs."""

from __future__ import annotations

from dataclasses import dataclass

from qbnnc.runtime.program import Buffer, Instruction


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantize(Instruction):
    """The input [channels][pixels] f32 to u8, with one offset and one scale for each channel."""

    input: Buffer
    shift: int
    scale: int
    zero: int
    low: int
    high: int
    channels: int
    pixels: int
    channel_step: int
    pixel_step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Requantize(Instruction):
    """i32 [pixels][channels] to u8.

    `factor_step` is 0, or channels if each pixel has its own factors.
    """

    input: Buffer
    factor: int
    factor_step: int
    zero: int
    low: int
    high: int
    pixels: int
    channels: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Dequantize(Instruction):
    """u8, i8 or i32 [pixels][channels] to an output [channels][pixels].

    `item` is 1, -1 or 4. `step` has the meaning of factor_step in Requantize.
    """

    input: Buffer
    item: int  # bytes of a code, negative if they are signed
    scale: int
    zero: int
    step: int
    pixels: int
    channels: int
