"""The instructions of convolutions and linear layers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from qbnnc.runtime.isa import chosen
from qbnnc.runtime.program import Buffer, Instruction

# The work of a product if so many are summed as int16 before they are widened.
PRODUCT_WORK = {1: 1.0, 2: 0.77, 4: 0.69}
_WORK_OF_A_TILE = 20.0  # of Winograd's form, for a pair of channels
_WORK_OF_A_TAP = 10.0  # of a depthwise convolution


class Epilogue(IntEnum):
    """The end of an accumulator."""

    ACCUMULATOR = 0  # it stays int32
    REQUANTIZE = 1  # it becomes a u8 code
    DEQUANTIZE = 2  # it becomes a float32 output


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer(Instruction):
    """The fields that all convolutions have.

    `weights` and `bias` are constants, or sampled. `bias`, `factor` (multipliers or scales) and
    `weight_zeros` (-1: none) have one number for each channel. `filters` counts the output channels
    of a group, `padded` those with padding. `depth` is K with padding. Channel n of pixel p of the
    output is element n * channel_step + p * pixel_step.
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
    """A convolution or linear layer, whose weights lie in a Layout with runs.

    The operand of pixel p has `segments` runs. Run s begins at pixel_offsets[p] + run_offsets[s] of
    the image and has `run` codes, which padding fills up to `k_blocks` x 4. `pixel_offsets` i32
    [pixels] and `run_offsets` i32 [segments] are constants.

    The image is the input. If a window leaves it, the image is a copy with a halo of padding,
    halo_height x halo_width (0: none). The copies lie in the scratch space, `images` at a time.
    `wide` and `steps` are fields of `kernels.microkernel.Shape`.
    """

    groups: int
    channels: int  # of a group of the input
    segments: int
    run: int
    k_blocks: int
    run_offsets: int
    pixel_offsets: int
    pixels: int
    halo_height: int
    halo_width: int
    images: int
    wide: int
    steps: int

    @property
    def work(self) -> float:
        products = float(self.pixels * self.groups * self.padded * self.depth)
        return products * PRODUCT_WORK[self.steps]

    @property
    def form(self) -> str:
        rows = 4 if self.wide or self.steps > 1 else 12 if chosen().registers == 32 else 6
        kind = ", int16" if self.wide else f", depth {self.steps}" if self.steps > 1 else ""
        width = chosen().panels[0]
        tile = f"{self.pixels}x{self.groups * self.filters}, K {self.depth}, tiles {rows}x{width}"
        return tile + kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Winograd(Layer):
    """A 3x3 convolution of stride 1 with one group, which is requantised: see kernels.winograd.

    `depth` counts the input channels and `filters` the output channels: both are multiples of 16.
    The weights lie as those of Convolve. `tiles` are computed at a time. `numbers` i32 [16] says
    where in v each number begins, `pitch` bytes apart. `none` are 64 bytes of zeros. Outputs beyond
    the image go to `nowhere` in the scratch space.
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
        return _WORK_OF_A_TILE * tiles * self.filters * self.depth

    @property
    def form(self) -> str:
        pixels = self.out_height * self.out_width
        return f"{pixels}x{self.filters}, K {9 * self.depth}, {self.tiles} tiles at once"


@dataclass(frozen=True, slots=True, kw_only=True)
class Depthwise(Layer):
    """A depthwise convolution, which has a window of its own for each channel.

    `filters` counts all channels, and K the taps of a window. The weights lie as
    [channel blocks][K][channels].
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
        return _WORK_OF_A_TAP * self.out_height * self.out_width * self.filters * self.depth
