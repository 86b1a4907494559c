"""The rule of embeddings."""

from __future__ import annotations

from qbnnc.runtime.families.embedding.instructions import Embed
from qbnnc.runtime.program import Instruction, Place
from qbnnc.runtime.verifier.line import Line, Rule
from qbnnc.support.table import Table

RULES = Table[type[Instruction], Rule]()


@RULES.of(Embed)
def embed(line: Line) -> None:
    """The kernel cuts each number that it reads to the rows of the table."""
    line.positive("rows width planes lines")
    line.constants("table", line.rows * line.width, alignment=1)
    furthest = line.indices("index", line.planes * line.lines, -1)
    line.read("input", furthest + 1, places=frozenset({Place.INPUT}))
    line.write(line.planes * line.lines * line.width)
