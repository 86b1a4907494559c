"""The instructions that choose one of several constants."""

from __future__ import annotations

from dataclasses import dataclass

from qbnnc.runtime.program import Buffer, Instruction

_WORK_OF_A_BYTE = 1.0  # of a copy, in multiplications of a convolution


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceIndex(Instruction):
    """A number floor(lane * choices / 65536), i32, of one lane for each sample or copy."""

    stream: int
    choices: int
    shared: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Choose(Instruction):
    """A copy of one of `count` constants of `size` bytes, which lie one after the other.

    The number in `index`, i32, is cut to 0..count - 1, so that no number leads elsewhere.
    """

    index: Buffer
    members: int
    count: int
    size: int

    @property
    def work(self) -> float:
        return _WORK_OF_A_BYTE * self.size

    @property
    def form(self) -> str:
        return f"one of {self.count}"
