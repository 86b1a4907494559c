"""Convolutions and linear layers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from qbnnc.runtime.program import Buffer, Instruction

OF_STEPS = {1: 1.0, 2: 0.77, 4: 0.69}  # of a product, if so many are summed before they are widened
_OF_A_TILE = 20.0  # multiplications in the time of a tile of Winograd's form and a pair of channels
_OF_A_PLACE = 10.0  # multiplications of a convolution in the time of one of a depthwise one


class Epilogue(IntEnum):
    """What becomes of an accumulator."""

    ACCUMULATOR = 0  # stays int32
    REQUANTIZE = 1  # u8 codes
    DEQUANTIZE = 2  # a float32 output


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer(Instruction):
    """What a convolution and a depthwise one have in common.

    `weights` and `bias` are constants, or sampled; `bias`, `factor` (multipliers or scales) and
    `weight_zeros` (-1: none) have one number for each channel. `filters` are the output channels of
    a group, `padded` with those that fill up its last block, `depth` K with its padding. Channel n
    of pixel p of the output is element n * channel_step + p * pixel_step.
    """

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
    filters: int
    padded: int
    depth: int
    channel_step: int
    pixel_step: int
    height: int
    width: int
    top: int
    left: int
    pad_code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Convolve(Layer):
    """A convolution or linear layer; a Layout with runs says how the weights lie.

    The operand of pixel p are the runs at places[p] + runs[s] of its image, each `run` codes long,
    with what fills them up `fours` x 4: `places` i32 [pixels] and `runs` i32 [segments] are
    constants. The image is the input, or where
    a window leaves it, a copy with a halo of padding, halo_height x halo_width (0: none), in the
    scratch room, which holds `images` of them. `wide` and `steps`: see kernels.microkernel.
    """

    groups: int
    channels: int  # of a group of the input
    segments: int
    run: int
    fours: int
    runs: int
    places: int
    pixels: int
    halo_height: int
    halo_width: int
    images: int
    wide: int
    steps: int

    @property
    def work(self) -> float:
        products = float(self.pixels * self.groups * self.padded * self.depth)
        return products * OF_STEPS[self.steps]

    @property
    def form(self) -> str:
        rows = 4 if self.wide or self.steps > 1 else 6
        kind = ", int16" if self.wide else f", depth {self.steps}" if self.steps > 1 else ""
        tile = f"{self.pixels}x{self.groups * self.filters}, K {self.depth}, tiles {rows}x16"
        return tile + kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Winograd(Layer):
    """A 3x3 convolution of stride 1, one group, requantised: see kernels.winograd.

    `depth` are the input channels and `filters` the output channels, multiples of 16. The weights
    lie as those of Convolve. `tiles` are done at a time; `numbers` i32 [16] says
    where in v each number begins, `pitch` bytes apart. `none` are 64 bytes of zeros, and `nowhere`
    is where in the scratch room outputs go that nobody needs.
    """

    out_height: int
    out_width: int
    tiles: int
    pitch: int
    numbers: int
    none: int
    nowhere: int

    @property
    def work(self) -> float:
        tiles = -(-self.out_height // 2) * -(-self.out_width // 2)
        return _OF_A_TILE * tiles * self.filters * self.depth

    @property
    def form(self) -> str:
        pixels = self.out_height * self.out_width
        return f"{pixels}x{self.filters}, K {9 * self.depth}, {self.tiles} tiles at once"


@dataclass(frozen=True, slots=True, kw_only=True)
class Depthwise(Layer):
    """A convolution of each channel by itself: `filters` are all channels, K the window's places.

    The weights lie as [blocks of channels][K][channels].
    """

    out_height: int
    out_width: int
    kernel_height: int
    kernel_width: int
    stride_y: int
    stride_x: int
    dilation_y: int
    dilation_x: int

    @property
    def work(self) -> float:
        return _OF_A_PLACE * self.out_height * self.out_width * self.filters * self.depth
