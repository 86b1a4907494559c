"""Rows of a network's input that come in blocks, and the same rows in chunks of one size."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from qbnnc.support.errors import InputError, UserError
from qbnnc.support.id_rows import check_ids, rows_of_ids
from qbnnc.support.inputs import as_rows

Float32 = NDArray[np.float32]
Ids = NDArray[np.int64]
Generic = NDArray[np.generic]

BLOCK_BYTES = 4 << 20
"""About how many bytes a reader takes from its file at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Rows [n, *shape] as they were read; `share` of the input has been read after them."""

    rows: Generic
    share: float


class Reader(Protocol):
    """An input. Its rows can be read from the first on, any number of times."""

    @property
    def name(self) -> str:
        """The input as its user calls it."""

    @property
    def count(self) -> int | None:
        """The number of rows; None where only reading tells."""

    def blocks(self) -> Iterator[Block]:
        """Read the rows in order. FileError or InputError where they cannot be read on."""


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """Checked rows [n, *shape] from row `start` of the input on."""

    start: int
    rows: Float32
    share: float


def chunks(
    reader: Reader, shape: tuple[int, ...], size: int, first: int = 0, ids: Ids | None = None
) -> Iterator[Chunk]:
    """The rows of a reader in chunks of `size` or less; one chunk ends at row `first`.

    If a row cannot be read, is NaN, or has no ids of the vocabularies `ids` where it should, the
    rows before it come first, and the error after them.
    """
    waiting = list[Float32]()
    start, held, share, want = 0, 0, 0.0, min(first or size, size)
    failure: UserError | None = None
    blocks = _checked(reader, shape, ids)
    while True:
        try:
            block = next(blocks, None)
        except UserError as error:
            block, failure = None, error
        if block is None:
            break
        rows, share = block
        while held + len(rows) >= want:
            taken, rows = rows[: want - held], rows[want - held :]
            yield Chunk(start, _joined([*waiting, taken]), share)
            start, held, waiting = start + want, 0, []
            want = min(first - start, size) if start < first else size
        if len(rows):
            waiting.append(rows)
            held += len(rows)
    if held:
        yield Chunk(start, _joined(waiting), share)
    if failure is not None:
        raise failure


def _checked(
    reader: Reader, shape: tuple[int, ...], ids: Ids | None
) -> Iterator[tuple[Float32, float]]:
    """Rows as float32 without NaN, with ids where they should be; those before an error first."""
    row = 0
    for block in reader.blocks():
        rows = as_rows(block.rows, shape, reader.name)
        if rows.size and math.isnan(np.maximum.reduce(rows, axis=None)):
            bad = int(np.isnan(rows).reshape(len(rows), -1).any(axis=1).argmax())
            yield rows[:bad], block.share
            raise InputError(
                f"NaN in row {row + bad}", reader.name, "remove or fill in missing values"
            )
        if (good := rows_of_ids(rows, ids)) < len(rows):
            yield rows[:good], block.share
            check_ids(rows[good:], ids, reader.name, row + good)
        yield rows, block.share
        row += len(rows)


def _joined(parts: list[Float32]) -> Float32:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def rows_of(row_bytes: int, unit: int = 1) -> int:
    """Rows of a block, of rows of so many bytes: a multiple of `unit`, one unit or more."""
    return max(1, BLOCK_BYTES // max(1, row_bytes * unit)) * unit
