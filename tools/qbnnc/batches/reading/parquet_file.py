"""Rows of Parquet files, by pyarrow (the extra `tables`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from qbnnc.batches.reading.columns import chosen_columns
from qbnnc.batches.reading.rows import Block, Generic, rows_of
from qbnnc.support.errors import FileError, InputError
from qbnnc.support.extras import require
from qbnnc.support.files import check_regular

if TYPE_CHECKING:
    from pyarrow import Array, DataType, RecordBatch
    from pyarrow.parquet import ParquetFile


@dataclass(frozen=True, slots=True)
class ParquetReader:
    """A Parquet file. Rows have the network's `shape`, and their numbers come from `columns`."""

    name: str
    path: Path
    shape: tuple[int, ...]
    columns: list[str]
    count: int

    @staticmethod
    def open(path: Path, shape: tuple[int, ...], columns: Sequence[str] | None) -> ParquetReader:
        """Read the schema; UserError if it does not fit a network with rows of `shape`."""
        require("pyarrow", what=f"reading {path.name}")
        with closing(_opened(path)) as file:
            schema = file.schema_arrow
            want = int(np.prod(shape, dtype=np.int64))
            places = chosen_columns(path, columns, schema.names, len(schema.names), want)
            for place in places:
                _check_type(schema.field(place).type, f"{path}: column {schema.names[place]}")
            names = [schema.names[place] for place in places]
            if twice := [name for name in names if schema.names.count(name) > 1]:
                raise InputError(f"two columns are called {twice[0]!r}", path, "rename one")
            return ParquetReader(str(path), path, shape, names, file.metadata.num_rows)

    def blocks(self) -> Iterator[Block]:
        """Read the rows; FileError where the file is damaged, InputError at a missing value."""
        import pyarrow

        done = 0
        with closing(_opened(self.path)) as file:
            batches = file.iter_batches(rows_of(8 * len(self.columns)), columns=self.columns)
            while True:
                try:
                    batch = next(batches, None)
                except (OSError, pyarrow.ArrowException) as error:
                    raise _damaged(self.path, error) from None
                if batch is None:
                    break
                rows, failure = self._numbers(batch, done)
                done += len(rows)
                yield Block(rows.reshape(len(rows), *self.shape), done / max(self.count, 1))
                if failure is not None:
                    raise failure
        if done != self.count:
            raise FileError(f"{done} rows, and it says {self.count}", self.path, "copy it again")

    def _numbers(self, batch: RecordBatch, done: int) -> tuple[Generic, InputError | None]:
        """The rows [n, columns] up to one with a missing value, and the error."""
        found = [batch.column(batch.schema.get_field_index(name)) for name in self.columns]
        missing = [_first_missing(column) for column in found]
        stop = min([len(batch), *(at for at in missing if at is not None)])
        failure = None
        if stop < len(batch):
            name = self.columns[missing.index(stop)]
            place = f"{self.path}: row {done + stop}, column {name}"
            failure = InputError("a missing value", place, "remove or fill in missing values")
        kept = [column.slice(0, stop).to_numpy(zero_copy_only=False) for column in found]
        rows = np.empty((stop, len(kept)), np.result_type(*kept) if kept else np.float32)
        for i, numbers in enumerate(kept):
            rows[:, i] = numbers
        return rows, failure


def _first_missing(column: Array) -> int | None:
    """The place of the first null or NaN; None if there is none."""
    import pyarrow.compute

    if not column.null_count and not pyarrow.types.is_floating(column.type):
        return None
    at = int(pyarrow.compute.index(column.is_null(nan_is_null=True), True).as_py())
    return None if at < 0 else at


def _opened(path: Path) -> ParquetFile:
    import pyarrow
    from pyarrow.parquet import ParquetFile

    check_regular(path)
    try:
        return ParquetFile(path, buffer_size=1 << 20, pre_buffer=False)
    except (OSError, pyarrow.ArrowException) as error:
        raise _damaged(path, error) from None


def _check_type(kind: DataType, place: str) -> None:
    """InputError unless a column holds one real number in each row."""
    from pyarrow import types

    if not any(is_(kind) for is_ in (types.is_floating, types.is_integer, types.is_boolean)):
        raise InputError(
            f"holds {kind}, not real numbers", place, "choose other columns with `columns`"
        )


def _damaged(path: Path, error: Exception) -> FileError:
    line = (str(error).splitlines() or [type(error).__name__])[0][:100]
    return FileError(f"no Parquet file, or damaged ({line})", path, "write it again")
