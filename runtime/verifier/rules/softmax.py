"""The rule of a softmax."""

from __future__ import annotations

from qbnnc.ir.ops.softmax import MOST_ENTRIES
from qbnnc.runtime.families.softmax.instructions import Softmax
from qbnnc.runtime.program import Instruction
from qbnnc.runtime.verifier.line import Line, Rule
from qbnnc.support.table import Table

RULES = Table[type[Instruction], Rule]()


@RULES.of(Softmax)
def softmax(line: Line) -> None:
    """Distances are cut to the table, so that no integer leads beyond it."""
    line.positive("height width length step_y step entries")
    line.require(line.entries <= MOST_ENTRIES, "the table is longer than float32 counts")
    size = line.height * line.width * line.length
    last = (line.height - 1) * line.step_y + line.width + (line.length - 1) * line.step
    line.require(last == size, "the rows are not the elements of the value")
    line.require(
        (line.step_y, line.step) == (line.length * line.width, line.width),
        "the rows overlap, or lie apart",
    )
    if line.flag("wide"):
        line.read("input", 4 * size, alignment=4)
    else:
        line.read("input", size)
    line.constants("table", 4 * line.entries)
    line.constants("factors", 8)
    _option(line, "mask", 1)
    _option(line, "bias", 4)
    line.scratch(4 * line.length)
    line.write(size)


def _option(line: Line, name: str, size: int) -> None:
    """State the constants of a mask or a bias, of elements of `size` bytes."""
    if getattr(line, name) == -1:
        return
    steps = [f"{name}_step_y", f"{name}_step_x", f"{name}_step"]
    line.natural(" ".join(steps))
    counts = line.height, line.width, line.length
    last = sum((n - 1) * getattr(line, step) for n, step in zip(counts, steps, strict=True))
    line.constants(name, size * (last + 1), alignment=size)
