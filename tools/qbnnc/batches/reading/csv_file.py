"""Rows of CSV files: cells between commas, one row a line, with or without a header."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qbnnc.batches.reading.columns import chosen_columns
from qbnnc.batches.reading.csv_header import cells_of, is_number, names_of
from qbnnc.batches.reading.rows import Block
from qbnnc.batches.reading.text_lines import line_blocks
from qbnnc.support.errors import FileError, InputError, UserError
from qbnnc.support.text import counted

Float64 = NDArray[np.float64]
_SHOWN = 30  # characters of a cell in an error


@dataclass(frozen=True, slots=True)
class CsvReader:
    """A CSV file. Cells are read as float64, and rows have the network's `shape`.

    `names` are those of the header; None if the first line is a row. `columns` are places from 0 of
    the `width` cells of each line.
    """

    name: str
    path: Path
    shape: tuple[int, ...]
    names: list[str] | None
    columns: list[int]
    width: int
    count: None = None

    @staticmethod
    def open(
        path: Path, shape: tuple[int, ...], columns: Sequence[str] | None, header: bool | None
    ) -> CsvReader:
        """Read the first line; UserError if it does not fit a network with rows of `shape`."""
        first = next(line_blocks(path, 1 << 16), None)
        if first is None:
            raise FileError("no rows", path, "give one or more")
        cells = cells_of(first.lines[0], f"{path}: line 1")
        names = names_of(path, cells, header)
        try:
            want = int(np.prod(shape, dtype=np.int64))
            chosen = chosen_columns(path, columns, names, len(cells), want)
        except InputError as error:
            if len(cells) == 1 and (";" in cells[0] or "\t" in cells[0]):
                raise FileError("no commas between cells", path, "separate them by ,") from None
            raise error
        return CsvReader(str(path), path, shape, names, chosen, len(cells))

    def blocks(self) -> Iterator[Block]:
        """Read the rows. The rows of a block before a bad line come before its error."""
        skipped = int(self.names is not None)
        for block in line_blocks(self.path):
            lines, first = block.lines, block.first
            if skipped:
                lines, first, skipped = lines[1:], first + 1, 0
            rows, failure = self._parsed(lines, first)
            yield Block(rows.reshape(len(rows), *self.shape), block.share)
            if failure is not None:
                raise failure

    def _parsed(self, lines: list[str], first: int) -> tuple[Float64, UserError | None]:
        """The rows of lines up to one that is wrong, and what is wrong."""
        try:
            rows = self._numbers(lines)
            if not np.isnan(np.maximum.reduce(rows, axis=None, initial=-np.inf)):
                return rows, None
        except (ValueError, FileError):
            pass  # the fault is looked for below
        for place, line in enumerate(lines):
            if (failure := self._fault(line, first + place)) is not None:
                return self._numbers(lines[:place]), failure
        raise AssertionError("the lines are wrong together, and right alone")

    def _numbers(self, lines: list[str]) -> Float64:
        """The chosen cells; ValueError if a cell is no number, or a line is longer or shorter."""
        if not lines:
            return np.empty((0, len(self.columns)))
        commas = self.width - 1
        if any(line.count(",") != commas or '"' in line for line in lines) and any(
            len(cells_of(line, "")) != self.width for line in lines
        ):
            raise ValueError("cells")
        return np.loadtxt(
            lines,
            np.float64,
            comments=None,
            delimiter=",",
            quotechar='"',
            usecols=self.columns,
            ndmin=2,
        )

    def _fault(self, line: str, number: int) -> UserError | None:
        """The fault of one line; None if it has none."""
        place = f"{self.path}: line {number}"
        try:
            cells = cells_of(line, place)
        except FileError as error:
            return error
        if len(cells) != self.width:
            return FileError(
                f"{counted(len(cells), 'cell')}, and line 1 has {self.width}", place, "mend it"
            )
        for column in self.columns:
            cell = cells[column].strip()
            at = f"{place}, column {self._called(column)}"
            if not cell or (is_number(cell) and np.isnan(float(cell))):
                what = f"{cell} is a missing value" if cell else "an empty cell"
                return InputError(what, at, "remove or fill in missing values")
            if not is_number(cell):
                text = cell if len(cell) <= _SHOWN else f"{cell[:_SHOWN]}..."
                return InputError(
                    f"{text!r} is no number", at, "mend it, or choose others with `columns`"
                )
        return None

    def _called(self, column: int) -> str:
        return str(column + 1) if self.names is None else self.names[column] or str(column + 1)
