"""The instruction that normalises groups of codes."""

from __future__ import annotations

from dataclasses import dataclass

from qbnnc.runtime.program import Buffer, Instruction

_WORK_OF_AN_ELEMENT = 8.0  # in multiplications of a convolution


@dataclass(frozen=True, slots=True, kw_only=True)
class Normalize(Instruction):
    """Codes minus the mean of their group, divided by its deviation, u8 to u8.

    `outer` x `inner` groups of `count` elements, which are `step` apart. `numbers` are the float64
    eps, outer eps and floor. Element e takes number e // `run` of its group's weight and bias.
    """

    input: Buffer
    numbers: int
    weight: int
    bias: int
    zero_in: int
    zero: int
    low: int
    high: int
    centred: int  # whether the mean is subtracted
    outer: int
    inner: int
    count: int
    outer_step: int
    inner_step: int
    step: int
    parameter_outer: int
    parameter_inner: int
    run: int

    @property
    def work(self) -> float:
        return _WORK_OF_AN_ELEMENT * self.output.stride
