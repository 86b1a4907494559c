"""The rule of noise on activations."""

from __future__ import annotations

from qbnnc.runtime.families.noise.instructions import NoiseCodes
from qbnnc.runtime.program import Instruction, Place
from qbnnc.runtime.verifier.line import Line, Rule
from qbnnc.support.table import Table

RULES = Table[type[Instruction], Rule]()
_LANES = 1 << 16  # that differ


@RULES.of(NoiseCodes)
def noise_codes(line: Line) -> None:
    line.positive("channels pixels")
    place = Place.SAMPLE if line.flag("shared") else Place.COPY
    line.require(
        line.operand("output").place is place, "the noise varies with other axes than it should"
    )
    size = line.channels * line.pixels
    line.constants("table", _LANES, alignment=1)
    line.scratch(8 * -(-size // 4))
    line.write(size)
