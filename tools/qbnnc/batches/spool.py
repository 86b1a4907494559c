"""The arrays of an output while rows come: one file each, which becomes an .npy file."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np

from qbnnc.batches.computing import Field, Float32
from qbnnc.batches.partial import Partial, State
from qbnnc.support.errors import FileError
from qbnnc.support.files import reason

HEADER = 320  # bytes, a multiple of 64: enough for 16 axes
_KEEP_SECONDS = 1.0  # between states, for each of which the disk has to have all rows


class Digest(Protocol):
    """A running SHA-256."""

    def update(self, data: bytes | memoryview, /) -> None: ...
    def hexdigest(self) -> str: ...
    def copy(self) -> Digest: ...


@dataclass(frozen=True, slots=True)
class Done:
    """Rows that are in the files, and the digest of their inputs."""

    rows: int
    digest: Digest


class Spool:
    """Appends the arrays of chunks. What is written and not kept is written again later."""

    def __init__(
        self, partial: Partial, fields: Sequence[Field], files: Mapping[str, BinaryIO], done: Done
    ) -> None:
        self._partial, self._fields, self._files = partial, fields, files
        self._kept, self._when, self.done = done.rows, time.monotonic(), done

    def append(self, rows: Float32, arrays: Mapping[str, Float32]) -> None:
        """Write the arrays of the next rows; FileError where the disk takes no more."""
        for field in self._fields:
            size, file = row_bytes(field), self._files[field.name]
            array = np.ascontiguousarray(arrays[field.name], "<f4")
            assert array.shape == (len(rows), *field.row_shape)
            try:
                file.seek(HEADER + self.done.rows * size)
                file.write(array.reshape(-1).view(np.uint8).data)
            except OSError as error:
                raise FileError(f"cannot be written ({reason(error)})", file.name) from error
        digest = self.done.digest.copy()
        digest.update(np.ascontiguousarray(rows, "<f4").reshape(-1).view(np.uint8).data)
        self.done = Done(self.done.rows + len(rows), digest)
        if time.monotonic() - self._when > _KEEP_SECONDS:
            self.keep()

    def keep(self) -> None:
        """Put all rows on the disk, and count them."""
        if self.done.rows == self._kept:
            return
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())
        self._partial.keep(State(self.done.rows, self.done.digest.hexdigest()))
        self._kept, self._when = self.done.rows, time.monotonic()

    def finish(self) -> None:
        """Cut the files to their rows, and write their headers."""
        self.keep()
        for field in self._fields:
            file = self._files[field.name]
            file.truncate(HEADER + self.done.rows * row_bytes(field))
            file.seek(0)
            file.write(header((self.done.rows, *field.row_shape)))
            file.flush()
            os.fsync(file.fileno())


@contextmanager
def open_spool(partial: Partial, fields: Sequence[Field], done: Done) -> Iterator[Spool]:
    """Open the files of all arrays. At the end, and after any error, what is done is kept."""
    files: dict[str, BinaryIO] = {}
    try:
        for field in fields:
            path = file_of(partial.folder, field)
            if not done.rows:
                path.unlink(missing_ok=True)
            files[field.name] = path.open("r+b" if path.exists() else "x+b", buffering=0)
        spool = Spool(partial, fields, files, done)
        try:
            yield spool
        finally:
            spool.keep()
    finally:
        for file in files.values():
            file.close()


def kept_rows(partial: Partial, fields: Sequence[Field]) -> State | None:
    """What a former run has kept; None if there is nothing, or if a file lacks some of it.

    A file with a second name is already in its place (`write_folder`), and is not written again.
    """
    state = partial.state()
    if state is None:
        return None
    for field in fields:
        path = file_of(partial.folder, field)
        if not path.is_file() or path.stat().st_nlink > 1:
            return None
        if path.stat().st_size < HEADER + state.rows * row_bytes(field):
            return None
    return state


def file_of(folder: Path, field: Field) -> Path:
    """The file of an array."""
    return folder / f"{field.name}.npy"


def row_bytes(field: Field) -> int:
    """The bytes of one row of an array."""
    return 4 * math.prod(field.row_shape)


def header(shape: tuple[int, ...]) -> bytes:
    """The header of an .npy file of float32, in HEADER bytes (numpy.lib.format, version 1.0)."""
    text = repr({"descr": "<f4", "fortran_order": False, "shape": shape})
    begin = b"\x93NUMPY\x01\x00" + (HEADER - 10).to_bytes(2, "little")
    return begin + text.ljust(HEADER - 11).encode() + b"\n"
