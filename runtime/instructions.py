"""The instructions there are; `kernels` holds a function for each.

Offsets into the constants are in bytes. "Pixels" are positions of an image, which lies in memory
as [pixels][channels]; any other value is one pixel.
"""

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

    `depth` is K rounded up to whole steps. `bias`, `factor` (multipliers or scales) and
    `weight_zeros` (-1: none) are offsets of one constant for each channel; of the output's
    elements, channel n of pixel p is at n * channel_step + p * pixel_step.
    """

    opcode = Opcode.CONVOLVE
    input: Buffer
    scratch: Buffer
    weights: int
    bias: int
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pool(Instruction):
    input: Buffer
    channels: int
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
    zero: int


class MaxPool(_Pool):
    """The greatest code of each window: u8 to u8."""

    __slots__ = ()
    opcode = Opcode.MAX_POOL


class SumPool(_Pool):
    """The sum of code - zero over each window: u8 to i32."""

    __slots__ = ()
    opcode = Opcode.SUM_POOL


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantize(Instruction):
    """The input [channels][pixels] f32 to codes; one offset and one scale for each channel."""

    opcode = Opcode.QUANTIZE
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
    """i32 [pixels][channels] to u8; factor_step is 0, or channels if each pixel has its own."""

    opcode = Opcode.REQUANTIZE
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
    """u8 or i32 [pixels][channels] to an output [channels][pixels].

    `step` is as factor_step of Requantize.
    """

    opcode = Opcode.DEQUANTIZE
    input: Buffer
    wide: int  # whether the input is i32
    scale: int
    zero: int
    step: int
    pixels: int
    channels: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Add(Instruction):
    """quant(dequant(a) + dequant(b)); `scales` are those of a, b and the sum."""

    opcode = Opcode.ADD
    a: Buffer
    b: Buffer
    scales: int
    a_zero: int
    b_zero: int
    zero: int
    low: int
    high: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Clamp(Instruction):
    """u8 codes clamped to low..high."""

    opcode = Opcode.CLAMP
    input: Buffer
    low: int
    high: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Select(Instruction):
    """mask ? code : zero over [height][width][channels]; the steps are the mask's, 0 or more."""

    opcode = Opcode.SELECT
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
class KeepMask(Instruction):
    """lane >= threshold: lanes drawn in the order [channels][pixels], kept as [pixels][channels].

    Scratch is room for the lanes, and for the mask in the order drawn.
    """

    opcode = Opcode.KEEP_MASK
    scratch: Buffer
    stream: int
    threshold: int
    shared: int
    channels: int
    pixels: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Transpose(Instruction):
    """[rows][columns] to [columns][rows], elements of 1 or 4 bytes."""

    opcode = Opcode.TRANSPOSE
    input: Buffer
    rows: int
    columns: int
    item: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Load(Instruction):
    """A constant as a value."""

    opcode = Opcode.LOAD
    constant: int
    size: int
