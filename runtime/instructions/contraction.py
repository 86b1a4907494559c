"""Convolutions and linear layers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from qbnnc.runtime.program import Buffer, Instruction, Opcode


class Epilogue(IntEnum):
    """What becomes of an accumulator."""

    ACCUMULATOR = 0  # stays int32
    REQUANTIZE = 1  # u8 codes
    DEQUANTIZE = 2  # a float32 output


@dataclass(frozen=True, slots=True, kw_only=True)
class Convolve(Instruction):
    """A convolution or linear layer; weights [groups][N / 128][K][128 or what is left] int8.

    `depth` is K rounded up to whole steps. `weights` and `bias` are constants, or sampled; `bias`,
    `factor` (multipliers or scales) and `weight_zeros` (-1: none) have one number for each channel.
    Of the output's elements, channel n of pixel p is at n * channel_step + p * pixel_step.
    """

    opcode = Opcode.CONVOLVE
    input: Buffer
    scratch: Buffer
    weights: Buffer
    bias: Buffer
    factor: int
    weight_zeros: int
    epilogue: Epilogue
    zero: int
    low: int
    high: int
    groups: int
    channels: int  # of a group of the input
    filters: int  # of a group of the output
    depth: int
    channel_step: int
    pixel_step: int
    height: int
    width: int
    out_height: int
    out_width: int
    kernel_height: int
    kernel_width: int
    stride_y: int
    stride_x: int
    top: int
    left: int
    dilation_y: int
    dilation_x: int
    pad_code: int


class Depthwise(Convolve):
    """A convolution of each channel by itself: `groups` 1, `channels` 1, `filters` all channels.

    So K runs over the kernel's places alone.
    """

    __slots__ = ()
    opcode = Opcode.DEPTHWISE
