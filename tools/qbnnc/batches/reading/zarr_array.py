"""Rows of Zarr arrays in folders (the extra `zarr`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from qbnnc.batches.reading.rows import Block, rows_of
from qbnnc.loading.arrays import split_spec
from qbnnc.support.errors import FileError, InputError
from qbnnc.support.extras import require

if TYPE_CHECKING:
    from zarr.types import AnyArray


@dataclass(frozen=True, slots=True)
class ZarrReader:
    """A Zarr array, or the array `key` of a group.

    Zarr reads a missing chunk as its fill value. Here it is an error, because a lost chunk looks
    the same.
    """

    name: str
    path: Path
    key: str | None
    count: int

    @staticmethod
    def open(name: str) -> ZarrReader:
        """Open `FOLDER.zarr[:KEY]`; FileError if it is no array, or not all of one."""
        path, key = split_spec(name)
        require("zarr", what=f"reading {path.name}")
        array = _opened(path, key)
        if array.ndim == 0 or array.dtype.kind not in "fiub":
            what = "one number" if array.ndim == 0 else f"elements of type {array.dtype}"
            raise InputError(f"holds {what}", place=name, remedy="give rows of real numbers")
        _check_complete(array, name)
        return ZarrReader(name, path, key, array.shape[0])

    def blocks(self) -> Iterator[Block]:
        """Read whole chunks of rows; FileError for a chunk that cannot be read."""
        array = _opened(self.path, self.key)
        if array.shape[0] != self.count:
            raise FileError("changed while it was read", self.path, "run again")
        row_bytes = array.dtype.itemsize * int(np.prod(array.shape[1:], dtype=np.int64))
        step = rows_of(row_bytes, (array.shards or array.chunks)[0])
        for start in range(0, max(self.count, 1), step):
            stop = min(start + step, self.count)
            try:
                rows = np.asarray(array[start:stop])
            except Exception as error:  # codecs raise what they like for damaged bytes
                line = (str(error).splitlines() or [type(error).__name__])[0][:100]
                raise FileError(
                    f"a chunk of the rows {start} to {stop - 1} cannot be read ({line})",
                    self.name,
                    "copy it again",
                ) from None
            yield Block(rows, stop / max(self.count, 1))


def _opened(path: Path, key: str | None) -> AnyArray:
    import zarr

    if not path.is_dir():
        raise FileError(
            "cannot be read (no such folder)", path, "Zarr arrays are read from folders"
        )
    try:
        found = zarr.open(path, mode="r")
    except Exception as error:  # of zarr, of JSON, of the system
        line = (str(error).splitlines() or [type(error).__name__])[0][:100]
        raise FileError(f"no Zarr array ({line})", path, "copy it again") from None
    if isinstance(found, zarr.Array):
        if key is not None:
            raise FileError(f"is one array and has no key {key!r}", path, "leave it out")
        return found
    names = sorted(name for name, _ in found.arrays())
    key = names[0] if key is None and len(names) == 1 else key
    array = found[key] if key is not None and key in names else None
    if not isinstance(array, zarr.Array):
        choice = " or ".join(f"{path}:{name}" for name in names[:5]) or "(it is empty)"
        choice += ", ..." * (len(names) > 5)
        if key is None:
            raise FileError(f"which array? write {choice}", path)
        raise FileError(f"no array {key!r}", path, f"write {choice}")
    return array


def _check_complete(array: AnyArray, name: str) -> None:
    """FileError if chunks are missing."""
    if (missing := array.nchunks - array.nchunks_initialized) > 0:
        raise FileError(
            f"{missing} of {array.nchunks} chunks are missing",
            name,
            "copy it again; if they hold the fill value alone, write the array with "
            'config={"write_empty_chunks": True}',
        )
