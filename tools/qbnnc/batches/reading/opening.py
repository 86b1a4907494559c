"""An input of any format that is read in blocks, by its suffix."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from qbnnc.batches.reading.array_files import ArrayReader, NpyReader
from qbnnc.batches.reading.csv_file import CsvReader
from qbnnc.batches.reading.parquet_file import ParquetReader
from qbnnc.batches.reading.rows import Reader
from qbnnc.batches.reading.zarr_array import ZarrReader
from qbnnc.loading.arrays import files_of
from qbnnc.support.errors import FileError, UserError

TABLES = (".csv", ".parquet")
SUFFIXES = (".npy", ".npz", ".csv", ".parquet", ".zarr")


def open_reader(
    name: str,
    shape: tuple[int, ...],
    columns: Sequence[str] | None = None,
    header: bool | None = None,
) -> Reader:
    """Open `FILE[:KEY]` for a network with rows of `shape`.

    `columns` and `header` are for tables; UserError elsewhere. FileError for a suffix that is not
    known, and for a file that is missing or damaged.
    """
    suffix = suffix_of(name)
    for option, given, where in (
        ("columns", columns is not None, TABLES),
        ("header", header is not None, (".csv",)),
    ):
        if given and suffix not in where:
            raise UserError(
                f"is for {' and '.join(where)} files, and the input is {Path(name).name}",
                place=f"`{option}`",
                remedy="leave it out",
            )
    match suffix:
        case ".csv":
            return CsvReader.open(Path(name), shape, columns, header)
        case ".parquet":
            return ParquetReader.open(Path(name), shape, columns)
        case ".zarr":
            return ZarrReader.open(name)
        case ".npy":
            return NpyReader.open(name)
        case ".npz":
            return ArrayReader.open(name)
    raise FileError("no format of rows has this suffix", name, f"there are {', '.join(SUFFIXES)}")


def suffix_of(name: str) -> str:
    """The suffix of `FILE[:KEY]`, in small letters."""
    return files_of(name)[0].suffix.lower()
