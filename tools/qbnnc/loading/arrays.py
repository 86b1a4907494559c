"""Arrays on the command line: FILE[:KEY] names one array of a .npy or .npz file."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from qbnnc.support.errors import FileError
from qbnnc.support.files import check_output, write_atomically
from qbnnc.support.numpy_files import Array, array_names, read_member, read_npy


def read_array(spec: str) -> Array:
    """The array `FILE[:KEY]` names; KEY may be left out if the file has one array.

    FileError if the file is missing or damaged, holds something else than numbers, has no such
    key, or is larger than what is read (`qbnnc.support.numpy_files`).
    """
    path, key = split_spec(spec)
    names = array_names(path)
    if names is None:
        if key is not None:
            raise FileError(
                f"a .npy file has one array and no key {key!r}", path, remedy="leave it out"
            )
        return read_npy(path)
    if key is None and len(names) == 1:
        key = names[0]
    if key not in names:
        choice = " or ".join(f"{path}:{name}" for name in names[:5]) or "(it is empty)"
        choice += ", ..." * (len(names) > 5)
        if key is None:
            raise FileError(f"which array? write {choice}", path)
        raise FileError(f"no array {key!r}", path, remedy=f"write {choice}")
    return read_member(path, key)


def file_of(spec: str) -> Path:
    """The file of `FILE[:KEY]`."""
    return split_spec(spec)[0]


def check_array_output(path: str | os.PathLike[str]) -> None:
    """FileError, before any work is done, if this cannot become an .npz file."""
    target = Path(path)
    if target.suffix != ".npz":
        raise FileError("predictions are written as .npz", path, remedy="give a name that ends so")
    check_output(target)


def write_arrays(path: str | os.PathLike[str], arrays: Mapping[str, Array]) -> None:
    """An .npz of all arrays, whole or not at all."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    write_atomically(path, buffer.getvalue())


def split_spec(spec: str) -> tuple[Path, str | None]:
    """`FILE[:KEY]` as both. A colon before a suffix belongs to the path (C:\\x.npy)."""
    head, colon, key = spec.rpartition(":")
    if colon and head.lower().endswith((".npz", ".npy", ".zarr")):
        return Path(head), key
    return Path(spec), None
