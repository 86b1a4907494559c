"""The instruction of a softmax over the last axis."""

from __future__ import annotations

from dataclasses import dataclass

from qbnnc.runtime.program import Buffer, Instruction

_WORK_OF_AN_ELEMENT = 20.0  # two passes and a table, in multiplications of a convolution


@dataclass(frozen=True, slots=True, kw_only=True)
class Softmax(Instruction):
    """Codes of a softmax over `length` elements, `step` apart, of u8 codes or i32 accumulators.

    Row (y, x) of height and width begins at y*step_y + x. An image [C, H, W] lies as [H, W, C]:
    its rows are those of H and C. `factors` are f32(1 / S_y) and the multiplier of distances.
    `mask` (u8) and `bias` (i32) are constants, with steps of their own, or -1.
    """

    input: Buffer
    scratch: Buffer
    wide: int  # whether the input is i32
    height: int
    width: int
    length: int
    step_y: int
    step: int
    table: int
    entries: int
    factors: int
    mask: int
    mask_step_y: int
    mask_step_x: int
    mask_step: int
    bias: int
    bias_step_y: int
    bias_step_x: int
    bias_step: int
    zero: int
    low: int
    high: int

    @property
    def work(self) -> float:
        return _WORK_OF_AN_ELEMENT * self.height * self.width * self.length

    @property
    def form(self) -> str:
        return f"{'sums' if self.wide else 'codes'}, rows of {self.length}"


INSTRUCTIONS: tuple[type[Instruction], ...] = (Softmax,)
