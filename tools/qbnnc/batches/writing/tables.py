"""Outputs of tables: a column for each number of a row, in CSV and Parquet files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from qbnnc.batches.computing import Field, Float32
from qbnnc.batches.writing.stored import Stored
from qbnnc.support.errors import FileError
from qbnnc.support.extras import require

MOST_COLUMNS = 10_000
_GROUP_BYTES = 32 << 20  # of a row group: it depends on the columns alone, so that bytes do


def check_table(fields: Sequence[Field], output: object) -> None:
    """FileError, before any work, for what is no table: samples, or too many columns."""
    if any(field.samples is not None for field in fields):
        raise FileError(
            "samples are no columns of a table",
            output,
            "ask for `statistics_only=True`, or for .npz or .zarr",
        )
    if (count := len(column_names(fields))) > MOST_COLUMNS:
        raise FileError(
            f"{count} columns; a table has {MOST_COLUMNS} at most", output, "ask for .zarr or .npz"
        )


def column_names(fields: Sequence[Field]) -> list[str]:
    """The columns: "entropy" of one number a row, "mean_0", "mean_1" of a vector."""
    names = list[str]()
    for field in fields:
        places = np.ndindex(field.shape)
        names += ["_".join([field.name, *map(str, place)]) for place in places]
    return names


def write_csv(stored: Stored, path: Path) -> None:
    """Write a header and a line for each row; each number is the shortest that reads back."""
    with path.open("w", encoding="ascii", newline="\n") as file:
        file.write(",".join(column_names(stored.fields)) + "\n")
        for start, stop in stored.spans(stored.fields):
            texts = _rows(stored, start, stop).astype("U").tolist()
            file.writelines(",".join(row) + "\n" for row in texts)


def write_parquet(stored: Stored, path: Path) -> None:
    """Write float32 columns, in row groups of one size."""
    require("pyarrow", what="writing Parquet")
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    names = column_names(stored.fields)
    schema = pyarrow.schema([(name, pyarrow.float32()) for name in names])
    group = max(1, _GROUP_BYTES // (4 * len(names)))
    with ParquetWriter(path, schema) as writer:
        for start in range(0, stored.rows, group):
            stop = min(start + group, stored.rows)
            columns = _columns(stored, start, stop)
            arrays = [pyarrow.array(column) for column in columns]
            writer.write_batch(pyarrow.record_batch(arrays, schema=schema), row_group_size=group)
            if stored.tell is not None:
                stored.tell(stop, stored.rows)


def _rows(stored: Stored, start: int, stop: int) -> Float32:
    """Rows [n, columns] of the table."""
    return np.concatenate(_flat(stored, start, stop), axis=1)


def _columns(stored: Stored, start: int, stop: int) -> list[Float32]:
    """Columns [n] of the table, each of them contiguous."""
    parts = _flat(stored, start, stop)
    return [np.ascontiguousarray(part[:, i]) for part in parts for i in range(part.shape[1])]


def _flat(stored: Stored, start: int, stop: int) -> list[Float32]:
    return [
        stored.read(field, start, stop).reshape(stop - start, math.prod(field.shape))
        for field in stored.fields
    ]
