"""Rules of normalisation."""

from __future__ import annotations

from qbnnc.runtime.families.normalization.instructions import Normalize
from qbnnc.runtime.program import Instruction
from qbnnc.runtime.verifier.line import Line, Rule
from qbnnc.support.table import Table

RULES = Table[type[Instruction], Rule]()


@RULES.of(Normalize)
def normalize(line: Line) -> None:
    """Every group lies within the value, and groups that fill it leave no byte unwritten."""
    line.positive("outer inner count step run")
    line.natural("outer_step inner_step parameter_outer parameter_inner")
    line.flag("centred")
    line.require(line.count % line.run == 0, f"{line.count} elements are no runs of {line.run}")
    size = line.outer * line.inner * line.count
    line.require(
        _fills(line),
        f"{line.outer} x {line.inner} groups of {line.count} do not fill {size} elements",
    )
    line.read("input", size)
    line.write(size)
    own = (line.outer - 1) * line.parameter_outer + (line.inner - 1) * line.parameter_inner
    line.constants("numbers", 24, 8)
    line.constants("weight", 4 * (own + line.count // line.run))
    line.constants("bias", 4 * (own + line.count // line.run))


def _fills(line: Line) -> bool:
    """Whether the places of all elements are 0, 1, .. to the last: some order of the axes nests."""
    axes = sorted(
        (step, extent)
        for step, extent in (
            (line.outer_step, line.outer),
            (line.inner_step, line.inner),
            (line.step, line.count),
        )
        if extent > 1
    )
    next_step = 1
    for step, extent in axes:
        if step != next_step:
            return False
        next_step *= extent
    return True
