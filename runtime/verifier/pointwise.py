"""What kernels.elementwise, .tables, .pooling and .quantization touch.

CODES codes at a time are read and stored where LLVM IR does it: up to 15 more than a pixel has.
"""

from __future__ import annotations

from qbnnc.runtime.layout import round_up
from qbnnc.runtime.packing import CODES
from qbnnc.runtime.program import Place
from qbnnc.runtime.verifier.line import Line


def _vectors(channels: int) -> int:
    """Codes of a pixel's vectors beyond its channels."""
    return round_up(channels, CODES) - channels


def _leaves(line: Line) -> None:
    line.require(line.operand("output").place is Place.OUT, "float32 numbers that do not leave")


def add(line: Line) -> None:
    line.positive("size")
    line.constants("scales", 12)
    line.read("a", line.size)
    line.read("b", line.size)
    line.write(line.size)


def multiply(line: Line) -> None:
    line.positive("height width channels")
    for name in ("a", "b"):
        y, x, channel = (getattr(line, f"{name}_step_{axis}") for axis in ("y", "x", "channel"))
        line.require(min(y, x, channel) >= 0, f"steps of {name}: {y}, {x}, {channel}")
        last = (line.height - 1) * y + (line.width - 1) * x + (line.channels - 1) * channel
        line.read(name, last + 1)
    size = line.height * line.width * line.channels
    if line.flag("requantize"):
        line.constants("factor", 4)
        line.write(size)
    else:
        line.write(4 * size, alignment=4)


def clamp(line: Line) -> None:
    line.positive("size")
    line.read("input", line.size)
    line.write(line.size)


def select(line: Line) -> None:
    """One mask for all pixels is read with its vectors."""
    line.positive("height width channels")
    line.natural("step_y step_x step_channel")
    pixels = line.height * line.width
    one_for_all = (line.step_y, line.step_x, line.step_channel) == (0, 0, 1)
    beyond = _vectors(line.channels) if one_for_all else 0
    line.read("input", pixels * line.channels, beyond)
    rows, columns = (line.height - 1) * line.step_y, (line.width - 1) * line.step_x
    line.read("mask", rows + columns + (line.channels - 1) * line.step_channel + 1, beyond)
    line.write(pixels * line.channels, beyond)


def lookup(line: Line) -> None:
    """Any byte is an index."""
    line.positive("size")
    line.constants("table", 256)
    line.read("input", line.size)
    line.write(line.size)


def lookup_real(line: Line) -> None:
    """Any byte is an index."""
    line.positive("pixels channels")
    _leaves(line)
    line.constants("table", 4 * 256)
    line.read("input", line.pixels * line.channels)
    line.write(line.pixels * line.channels)


def _pool(line: Line) -> None:
    line.positive("channels height width out_height out_width kernel_height kernel_width")
    line.positive("stride_y stride_x dilation_y dilation_x")
    line.natural("top left")


def max_pool(line: Line) -> None:
    """Windows are cut to the image."""
    _pool(line)
    beyond = _vectors(line.channels)
    line.read("input", line.height * line.width * line.channels, beyond)
    line.write(line.out_height * line.out_width * line.channels, beyond)


def sum_pool(line: Line) -> None:
    """Windows are cut to the image."""
    _pool(line)
    line.read("input", line.height * line.width * line.channels)
    line.write(4 * line.out_height * line.out_width * line.channels, alignment=4)


def quantize(line: Line) -> None:
    line.positive("channels pixels")
    size, steps = line.channels * line.pixels, (line.channel_step, line.pixel_step)
    line.require(steps in ((1, line.channels), (line.pixels, 1)), f"steps of {steps}")
    line.require(line.operand("input").place is Place.INPUT, "quantises what is no input")
    line.constants("shift", 4 * line.channels)
    line.constants("scale", 4 * line.channels)
    line.read("input", size)
    line.write(size)


def requantize(line: Line) -> None:
    line.positive("channels pixels")
    line.natural("factor_step")
    line.constants("factor", 4 * ((line.pixels - 1) * line.factor_step + line.channels))
    line.read("input", 4 * line.pixels * line.channels, alignment=4)
    line.write(line.pixels * line.channels)


def dequantize(line: Line) -> None:
    line.positive("channels pixels")
    line.natural("step")
    line.require(line.item in (-1, 1, 4), f"codes of {line.item} bytes")
    _leaves(line)
    parameters = (line.pixels - 1) * line.step + line.channels
    line.constants("scale", 4 * parameters)
    line.constants("zero", 4 * parameters)
    size = line.pixels * line.channels
    line.read("input", abs(line.item) * size, alignment=abs(line.item))
    line.write(size)
