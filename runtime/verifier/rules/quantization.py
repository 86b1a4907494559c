"""Rules of quantising, requantising and dequantising."""

from __future__ import annotations

from qbnnc.runtime.families.quantization.instructions import Dequantize, Quantize, Requantize
from qbnnc.runtime.program import Instruction, Place
from qbnnc.runtime.verifier.line import Line, Rule
from qbnnc.support.table import Table

RULES = Table[type[Instruction], Rule]()


@RULES.of(Quantize)
def quantize(line: Line) -> None:
    line.positive("channels pixels")
    size, steps = line.channels * line.pixels, (line.channel_step, line.pixel_step)
    line.require(
        steps in ((1, line.channels), (line.pixels, 1)), f"the steps {steps} are of no known order"
    )
    line.constants("shift", 4 * line.channels)
    line.constants("scale", 4 * line.channels)
    line.read("input", size, places=frozenset({Place.INPUT}))
    line.write(size)


@RULES.of(Requantize)
def requantize(line: Line) -> None:
    line.positive("channels pixels")
    line.natural("factor_step")
    line.constants("factor", 4 * ((line.pixels - 1) * line.factor_step + line.channels))
    line.read("input", 4 * line.pixels * line.channels, alignment=4)
    line.write(line.pixels * line.channels)


@RULES.of(Dequantize)
def dequantize(line: Line) -> None:
    line.positive("channels pixels")
    line.natural("step")
    line.require(line.item in (-1, 1, 4), f"a code has {line.item} bytes")
    parameters = (line.pixels - 1) * line.step + line.channels
    line.constants("scale", 4 * parameters)
    line.constants("zero", 4 * parameters)
    size = line.pixels * line.channels
    line.read("input", abs(line.item) * size, alignment=abs(line.item))
    line.write(size, leaves=True)
