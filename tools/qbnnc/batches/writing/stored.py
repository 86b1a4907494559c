"""The arrays of a finished run, read again in blocks while they become an output."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from qbnnc.batches.computing import Field, Float32
from qbnnc.batches.spool import HEADER, file_of, header, row_bytes
from qbnnc.support.errors import FileError

BLOCK_BYTES = 8 << 20
Tell = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Stored:
    """Arrays of `rows` rows in a folder, rows first. `tell` gets how much is written, and of it."""

    folder: Path
    fields: tuple[Field, ...]
    rows: int
    tell: Tell | None = None

    def read(self, field: Field, start: int, stop: int) -> Float32:
        """Rows [stop - start, *row_shape] of an array."""
        path, size = file_of(self.folder, field), row_bytes(field)
        count = (stop - start) * (size // 4)
        found = np.fromfile(path, "<f4", count, offset=HEADER + start * size)
        if found.size != count:
            raise FileError("shorter than it was", path, "run again with `restart`")
        return found.reshape(stop - start, *field.row_shape).astype(np.float32, copy=False)

    def spans(self, fields: tuple[Field, ...], unit: int = 1) -> Iterator[tuple[int, int]]:
        """Ranges of rows whose blocks of all `fields` have about BLOCK_BYTES.

        Each but the last is a multiple of `unit` rows.
        """
        size = sum(row_bytes(field) for field in fields)
        step = max(1, BLOCK_BYTES // max(1, size * unit)) * unit
        for start in range(0, self.rows, step):
            stop = min(start + step, self.rows)
            yield start, stop
            if self.tell is not None:
                self.tell(stop, self.rows)

    def place_samples(self, field: Field, path: Path) -> None:
        """Write the .npy file of samples [L, rows, *shape], which are stored rows first."""
        assert field.samples is not None
        one = row_bytes(field) // field.samples
        with path.open("wb") as file:
            file.write(header(field.shape_of(self.rows)))
            file.truncate(HEADER + self.rows * row_bytes(field))
            for start, stop in self.spans((field,)):
                block = self.read(field, start, stop)
                for sample in range(field.samples):
                    file.seek(HEADER + (sample * self.rows + start) * one)
                    file.write(np.ascontiguousarray(block[:, sample], "<f4").tobytes())
