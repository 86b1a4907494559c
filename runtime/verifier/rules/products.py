"""The rule of products of two computed matrices."""

from __future__ import annotations

from qbnnc.runtime.families.products.instructions import MatMul, packed_bytes
from qbnnc.runtime.program import Instruction
from qbnnc.runtime.verifier.line import Line, Rule
from qbnnc.support.table import Table

RULES = Table[type[Instruction], Rule]()


@RULES.of(MatMul)
def mat_mul(line: Line) -> None:
    line.positive("count height width depth")
    line.flag("interleaved")
    for name, lines in (("a", line.height), ("b", line.width)):
        count, step, depth = (
            getattr(line, f"{name}_step_{axis}") for axis in ("count", "line", "depth")
        )
        line.require(
            min(count, step, depth) >= 0,
            f"the steps of {name} are {count}, {step}, {depth}: one is negative",
        )
        last = (line.count - 1) * count + (lines - 1) * step + (line.depth - 1) * depth
        line.read(name, last + 1)
    line.scratch(packed_bytes(line.height, line.width, line.depth))
    size = line.count * line.height * line.width
    if line.flag("requantize"):
        line.constants("factor", 4)
        line.write(size)
    else:
        line.write(4 * size, alignment=4)
