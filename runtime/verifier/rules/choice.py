"""Rules of choices between constants."""

from __future__ import annotations

from qbnnc.runtime.families.choice.instructions import ChoiceIndex, Choose
from qbnnc.runtime.program import Instruction, Place
from qbnnc.runtime.verifier.line import Line, Rule
from qbnnc.support.table import Table

RULES = Table[type[Instruction], Rule]()


@RULES.of(ChoiceIndex)
def choice_index(line: Line) -> None:
    line.positive("choices")
    place = Place.SAMPLE if line.flag("shared") else Place.COPY
    line.require(
        line.operand("output").place is place, "the number varies with other axes than it should"
    )
    line.write(4, alignment=4)


@RULES.of(Choose)
def choose(line: Line) -> None:
    """The kernel cuts the number that it reads to those of the constants."""
    line.positive("count size")
    line.constants("members", line.count * line.size, alignment=1)
    line.read("index", 4, alignment=4)
    line.write(line.size)
