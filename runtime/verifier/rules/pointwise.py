"""Rules of pointwise instructions."""

from __future__ import annotations

from qbnnc.runtime.families.pointwise.instructions import (
    PAIRWISE,
    Clamp,
    Lookup,
    LookupReal,
    Multiply,
    SumOfProducts,
)
from qbnnc.runtime.program import Instruction
from qbnnc.runtime.verifier.line import Line, Rule
from qbnnc.support.table import Table

RULES = Table[type[Instruction], Rule]()


@RULES.of(*PAIRWISE)
def pairwise(line: Line) -> None:
    line.positive("size")
    line.constants("scales", 12)
    line.read("a", line.size)
    line.read("b", line.size)
    line.write(line.size)


@RULES.of(Multiply)
def multiply(line: Line) -> None:
    line.positive("height width channels")
    for name in ("a", "b"):
        y, x, channel = (getattr(line, f"{name}_step_{axis}") for axis in ("y", "x", "channel"))
        line.require(
            min(y, x, channel) >= 0, f"the steps of {name} are {y}, {x}, {channel}: one is negative"
        )
        last = (line.height - 1) * y + (line.width - 1) * x + (line.channels - 1) * channel
        line.read(name, last + 1)
    size = line.height * line.width * line.channels
    if line.flag("requantize"):
        line.constants("factor", 4)
        line.write(size)
    else:
        line.write(4 * size, alignment=4)


@RULES.of(SumOfProducts)
def sum_of_products(line: Line) -> None:
    line.positive("size")
    second = line.flag("second")
    line.constants("factors", 8 if second else 4)
    for name, is_state in (("a", False), ("b", line.flag("b_state")), ("c", False)):
        _operand(line, name, is_state=is_state)
    _operand(line, "d", is_state=line.flag("d_state"))
    line.write(4 * line.size, alignment=4)


def _operand(line: Line, name: str, *, is_state: bool) -> None:
    """A factor of a product: bytes, or the int32 codes of a state."""
    line.read(name, (4 if is_state else 1) * line.size, alignment=4 if is_state else 1)


@RULES.of(Clamp)
def clamp(line: Line) -> None:
    line.positive("size")
    line.read("input", line.size)
    line.write(line.size)


@RULES.of(Lookup)
def lookup(line: Line) -> None:
    """Any byte is an index."""
    line.positive("size")
    line.constants("table", 256)
    line.read("input", line.size)
    line.write(line.size)


@RULES.of(LookupReal)
def lookup_real(line: Line) -> None:
    """Any byte is an index."""
    line.positive("pixels channels")
    line.constants("table", 4 * 256)
    line.read("input", line.pixels * line.channels)
    line.write(line.pixels * line.channels, leaves=True)
