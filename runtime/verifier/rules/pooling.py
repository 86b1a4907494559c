"""Rules of pooling."""

from __future__ import annotations

from qbnnc.runtime.families.pooling.instructions import MaxPool, MaxUnpool, SumPool
from qbnnc.runtime.program import Instruction
from qbnnc.runtime.verifier.line import Line, Rule
from qbnnc.support.table import Table

RULES = Table[type[Instruction], Rule]()


@RULES.of(MaxPool)
def max_pool(line: Line) -> None:
    """The kernel cuts windows to the image."""
    _pool(line)
    beyond = line.beyond_vectors(line.channels)
    line.read("input", line.height * line.width * line.channels, beyond)
    line.write(line.out_height * line.out_width * line.channels, beyond)


@RULES.of(SumPool)
def sum_pool(line: Line) -> None:
    """The kernel cuts windows to the image."""
    _pool(line)
    line.read("input", line.height * line.width * line.channels)
    line.write(4 * line.out_height * line.out_width * line.channels, alignment=4)


@RULES.of(MaxUnpool)
def max_unpool(line: Line) -> None:
    """The kernel writes each window whole, and one code of it again."""
    line.positive("channels height width kernel_height kernel_width")
    codes = line.height * line.width * line.channels
    whole = codes * line.kernel_height * line.kernel_width
    line.read("input", codes)
    line.read("image", whole)
    line.write(whole)


def _pool(line: Line) -> None:
    """Require the fields of a window."""
    line.positive("channels height width out_height out_width kernel_height kernel_width")
    line.positive("stride_y stride_x dilation_y dilation_x")
    line.natural("top left")
