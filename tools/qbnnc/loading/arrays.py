"""Arrays on the command line: FILE[:KEY] names one array of a .npy or .npz file.

The arrays of several inputs are "NAME=FILE[:KEY], NAME=FILE[:KEY]", or the keys "FILE.npz:KEY,KEY",
which are then the names of the inputs.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from qbnnc.support.errors import FileError, UserError
from qbnnc.support.files import check_output, write_atomically
from qbnnc.support.numpy_files import Array, array_names, is_archive, read_member, read_npy

_NAMED = re.compile(r"([\w.-]*[^\W\d][\w.-]*)=(.+)")  # NAME=FILE[:KEY]
_BETWEEN = re.compile(r", (?=[\w.-]+=)")


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
            several = f", or {path}:{','.join(names)} for several inputs" * (1 < len(names) <= 5)
            raise FileError(f"which array? write {choice}{several}", path)
        raise FileError(f"no array {key!r}", path, remedy=f"write {choice}")
    return read_member(path, key)


def read_arrays(spec: str, names: Sequence[str] = ()) -> Array | dict[str, Array]:
    """The array of `read_array`, or those of several inputs by their names.

    `names` are those of a network of several inputs: one .npz without a key is then read by them.
    FileError as `read_array`, and for two arrays of one name.
    """
    parts = split_inputs(spec)
    if parts is not None:
        return {name: read_array(each) for name, each in parts}
    path, key = split_spec(spec)
    keys = [] if key is None else [each.strip() for each in key.split(",")]
    if len(names) > 1 and key is None and is_archive(path):
        keys = list(names)
    if len(keys) < 2:
        return read_array(spec)
    return {each: read_array(f"{path}:{each}") for each in keys}


def split_inputs(spec: str) -> list[tuple[str, str]] | None:
    """The names of several inputs, each with its FILE[:KEY]; None of a spec without a name.

    >>> split_inputs("a=x.npz:a, b=b.npy"), split_inputs("x.npz:a")
    ([('a', 'x.npz:a'), ('b', 'b.npy')], None)
    """
    parts = [_NAMED.fullmatch(part) for part in _BETWEEN.split(spec)]
    named = [(part[1], part[2]) for part in parts if part is not None]
    return named if named and len(named) == len(parts) else None


def joined_specs(specs: Sequence[str], option: str) -> str | None:
    """The FILE[:KEY] of an option that may be given once for each input, as one text.

    None of an option that is not given. UserError for several without names, or one name twice.
    """
    if len(specs) < 2:
        return specs[0] if specs else None
    named = [_NAMED.fullmatch(spec) for spec in specs]
    names = [found[1] for found in named if found is not None]
    if len(names) < len(specs):
        raise UserError(
            "given several times, each for one input",
            place=option,
            remedy=f"name each: {option} NAME=FILE",
        )
    if len({*names}) < len(names):
        raise UserError("two arrays for one input", place=option, remedy="give each name once")
    return ", ".join(specs)


def file_of(spec: str) -> Path:
    """The file of `FILE[:KEY]`."""
    return split_spec(spec)[0]


def files_of(spec: str) -> list[Path]:
    """The files of `FILE[:KEY]`, or of the arrays of several inputs."""
    parts = split_inputs(spec)
    return [file_of(spec)] if parts is None else [file_of(each) for _, each in parts]


def files_among(*specs: str | None) -> list[Path]:
    """The files of all options that are given."""
    return [file for spec in specs if spec is not None for file in files_of(spec)]


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
