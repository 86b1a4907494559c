"""The instruction of noise on activations."""

from __future__ import annotations

from dataclasses import dataclass

from qbnnc.runtime.program import Buffer, Instruction

_WORK_OF_A_LANE = 50.0  # in multiplications of a convolution


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseCodes(Instruction):
    """Codes of random numbers: table[lane], u8, for each element.

    Lanes are drawn as [channels][pixels], and codes lie as [pixels][channels]. `table` u8 [65536]
    is a constant. The scratch space holds the lanes.
    """

    scratch: Buffer
    table: int
    stream: int
    shared: int
    channels: int
    pixels: int

    @property
    def work(self) -> float:
        return _WORK_OF_A_LANE * self.channels * self.pixels
