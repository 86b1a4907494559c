"""Rules of instructions that move elements."""

from __future__ import annotations

from qbnnc.runtime.families.moves.instructions import Copy, Gather, Load, Transpose
from qbnnc.runtime.program import Instruction, Place
from qbnnc.runtime.verifier.line import Line, Rule
from qbnnc.support.table import Table

RULES = Table[type[Instruction], Rule]()


@RULES.of(Transpose)
def transpose(line: Line) -> None:
    line.positive("rows columns")
    size = _item(line) * line.rows * line.columns
    line.read("input", size, alignment=line.item)
    line.write(size, alignment=line.item)


@RULES.of(Gather)
def gather(line: Line) -> None:
    line.positive("count run")
    item, furthest = _item(line), line.indices("index", line.count, -1)
    line.read("input", item * (furthest + line.run) if furthest >= 0 else 0, alignment=item)
    line.write(item * line.count * line.run, alignment=item)


@RULES.of(Copy)
def copy(line: Line) -> None:
    line.positive("count run")
    line.natural("first")
    line.require(line.first + line.run <= line.step, "runs overlap")
    line.read("input", line.count * line.run)
    line.write_part(line.first, line.run, line.step, line.count)


@RULES.of(Load)
def load(line: Line) -> None:
    line.positive("size")
    line.require(
        line.operand("output").place is Place.FIXED, "a constant varies with the row or sample"
    )
    line.constants("constant", line.size, alignment=1)
    line.write(line.size)


def _item(line: Line) -> int:
    """Require elements of 1 or 4 bytes; return their size."""
    line.require(line.item in (1, 4), f"an element has {line.item} bytes")
    return line.item
