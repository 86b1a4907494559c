"""The instruction that reads rows of a table."""

from __future__ import annotations

from dataclasses import dataclass

from qbnnc.runtime.program import Buffer, Instruction

_WORK_OF_A_BYTE = 1.0  # of a copy, in multiplications of a convolution


@dataclass(frozen=True, slots=True, kw_only=True)
class Embed(Instruction):
    """Rows of `table` u8 [rows][width], one for each id, to [lines][width][planes].

    The ids are f32 numbers of the network's input, in order [planes][lines]. `index` i32
    [planes * lines] says where each is in the row of the batch; -1 is the id 0. A number that is no
    id is cut to 0..rows - 1, so that no number leads elsewhere.
    """

    input: Buffer
    index: int
    table: int
    rows: int
    width: int
    planes: int
    lines: int

    @property
    def work(self) -> float:
        return _WORK_OF_A_BYTE * self.width * self.planes * self.lines
