"""The instructions of pooling: windows over an image."""

from __future__ import annotations

from dataclasses import dataclass

from qbnnc.runtime.program import Buffer, Instruction


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pool(Instruction):
    """The fields of a window; `zero` counts in sums alone."""

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
    """The greatest code of each window, u8 to u8."""

    __slots__ = ()


class SumPool(_Pool):
    """The sum of code - zero over each window, u8 to i32."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MaxUnpool(Instruction):
    """Codes at the first maximum of each window of an image, u8; `zero` everywhere else.

    `input` is [height][width][channels]; the windows lie side by side in `image`.
    """

    input: Buffer
    image: Buffer
    channels: int
    height: int
    width: int
    kernel_height: int
    kernel_width: int
    zero: int
