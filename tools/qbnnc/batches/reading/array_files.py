"""Rows of .npy files, which are mapped, and of .npz files, which are read whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from qbnnc.batches.reading.rows import Block, Generic, rows_of
from qbnnc.loading.arrays import read_array, split_spec
from qbnnc.support.errors import FileError, InputError
from qbnnc.support.numpy_files import map_npy


@dataclass(frozen=True, slots=True)
class NpyReader:
    """An .npy file. Each block is mapped anew, so that memory holds the pages of one block."""

    name: str
    path: Path
    shape: tuple[int, ...]

    @staticmethod
    def open(name: str) -> NpyReader:
        """Read the header; FileError if it is none."""
        path = split_spec(name)[0]
        if path.suffix.lower() != ".npy" or os.fspath(path) != name:
            read_array(name)  # tells what is wrong with it
        return NpyReader(name, path, _with_rows(map_npy(path), name).shape)

    @property
    def count(self) -> int:
        return self.shape[0]

    def blocks(self) -> Iterator[Block]:
        """Copy the rows of a block at a time; FileError if the file changes its shape meanwhile."""
        size, start = 0, 0
        while start < self.count or not start:
            whole = map_npy(self.path)
            if whole.shape != self.shape:
                raise FileError("changed while it was read", self.path, "run again")
            size = size or rows_of(whole[:1].nbytes)
            rows = np.array(whole[start : start + size])
            del whole
            start += max(len(rows), 1)
            yield Block(rows, min(start / max(self.count, 1), 1.0))


@dataclass(frozen=True, slots=True, eq=False)
class ArrayReader:
    """An array in memory, such as one of an .npz file."""

    name: str
    array: Generic

    @staticmethod
    def open(name: str) -> ArrayReader:
        """Read the array of `FILE.npz[:KEY]`."""
        return ArrayReader(name, _with_rows(read_array(name), name))

    @property
    def count(self) -> int:
        return len(self.array)

    def blocks(self) -> Iterator[Block]:
        """Give views of the rows."""
        size = rows_of(self.array[:1].nbytes)
        for start in range(0, max(self.count, 1), size):
            rows = self.array[start : start + size]
            yield Block(rows, (start + len(rows)) / max(self.count, 1))


def _with_rows(array: Generic, name: str) -> Generic:
    if array.ndim == 0:
        raise InputError("one number", place=name, remedy="give rows: an array [rows, ...]")
    return array
