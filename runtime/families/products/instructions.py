"""The instruction of products of two computed matrices."""

from __future__ import annotations

from dataclasses import dataclass

from qbnnc.runtime.layout import round_up
from qbnnc.runtime.program import Buffer, Instruction

LINE = 16  # numbers of 16 bits: a packed line of K is a multiple of these
TILE = 2  # lines of either matrix that are multiplied at once
_WORK_OF_A_PRODUCT = 1.5  # in multiplications of a convolution
_WORK_OF_A_CODE = 4.0  # that is packed


@dataclass(frozen=True, slots=True, kw_only=True)
class MatMul(Instruction):
    """sum_k (a - Z_a)(b - Z_b) of `count` pairs of matrices, i32 or requantised by one `factor`.

    a is [count][height][depth] and b [count][width][depth]; their steps are in elements, 0 or more.
    The output is [count][height][width], or [height][width][count] if it is `interleaved`. The
    scratch space holds both matrices of a pair as q - Z, int16, in lines of a multiple of LINE.
    """

    a: Buffer
    b: Buffer
    scratch: Buffer
    requantize: int  # whether the sums become u8
    factor: int
    a_zero: int
    b_zero: int
    zero: int
    low: int
    high: int
    count: int
    height: int
    width: int
    depth: int
    a_step_count: int
    a_step_line: int
    a_step_depth: int
    b_step_count: int
    b_step_line: int
    b_step_depth: int
    interleaved: int

    @property
    def work(self) -> float:
        products = self.height * self.width * round_up(self.depth, LINE)
        codes = (self.height + self.width) * self.depth
        return self.count * (_WORK_OF_A_PRODUCT * products + _WORK_OF_A_CODE * codes)


def packed_bytes(height: int, width: int, depth: int) -> int:
    """The bytes of both matrices of a pair in the scratch space."""
    lines = round_up(height, TILE) + round_up(width, TILE)
    return 2 * lines * round_up(depth, LINE)
