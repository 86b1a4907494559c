"""Labelled data as a user names them: files, pairs of arrays, and the arrays of several inputs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qbnnc.evaluation.data import Floats, Inputs, RawData, Shape, as_inputs
from qbnnc.loading.arrays import read_array, split_spec
from qbnnc.support.errors import FileError, InputError
from qbnnc.support.inputs import as_array
from qbnnc.support.numpy_files import array_names, is_archive
from qbnnc.support.several_inputs import Arrays, Entries

_X, _Y = ("x", "X"), ("y", "Y")
Path_: TypeAlias = str | os.PathLike[str]
Labelled: TypeAlias = "Path_ | tuple[Arrays, ArrayLike]"


def read_raw(spec: str) -> RawData:
    """The arrays of `FILE.npz[:XKEY,YKEY]`; without keys x (or X) and y (or Y).

    Without x, two other arrays or more are inputs by their names. Of more than two keys the last
    is YKEY. FileError if there is no such file or array.
    """
    path, keys = split_spec(spec)
    names = _names(path)
    given = [key.strip() for key in keys.split(",")] if keys is not None else []
    if len(given) == 1 or "" in given:
        raise FileError("labelled data are two arrays", path, remedy=f"write {path}:XKEY,YKEY")
    y_key = given[-1] if given else _default(path, names, _Y)
    others = given[:-1] or [name for name in names if name != y_key]
    y, y_name = read_array(f"{path}:{y_key}"), f"{path}:{y_key}"
    if len(others) > 1 and (given or not {*_X} & {*names}):
        return RawData(_by_name(path, others), y, str(path), y_name)
    x_name = f"{path}:{given[0] if given else _default(path, names, _X)}"
    return RawData(read_array(x_name), y, x_name, y_name)


def _by_name(path: Path, names: Sequence[str]) -> dict[str, NDArray[np.generic]]:
    return {name: read_array(f"{path}:{name}") for name in names}


def read_inputs(spec: str, shape: Shape, inputs: Entries = ()) -> NDArray[np.float32]:
    """Inputs without labels [N, *shape] of `FILE[:KEY]`; the key is x (or X) by default.

    Of several `inputs`, an .npz without x holds an array for each of their names.
    """
    path, key = split_spec(spec)
    if key is None and path.suffix.lower() == ".npz" and len(names := _names(path)) > 1:
        if len(inputs) > 1 and not {*_X} & {*names}:
            wanted = [entry.name for entry in inputs if entry.name in names]
            return as_inputs(_by_name(path, wanted), shape, str(path), inputs)
        spec = f"{path}:{_default(path, names, _X)}"
    return as_inputs(read_array(spec), shape, spec)


def _names(path: Path) -> list[str]:
    """The arrays of an .npz file; FileError if it is none."""
    if not is_archive(path):
        raise FileError("no .npz archive", path, remedy="write it with numpy.savez(path, x=x, y=y)")
    return array_names(path) or []


def _default(path: Path, names: list[str], wanted: tuple[str, ...]) -> str:
    found = [name for name in wanted if name in names]
    if len(found) == 1:
        return found[0]
    has = ", ".join(names[:8]) or "nothing"
    raise FileError(
        f"has {'both' if found else 'no array'} {' and '.join(wanted) if found else wanted[0]}; "
        f"it has {has}",
        path,
        remedy=f"name the arrays as {path}:XKEY,YKEY",
    )


def read_labelled(data: Labelled, name: str) -> RawData:
    """Data in "FILE.npz[:XKEY,YKEY]", or (x, y), which errors call `name`."""
    if isinstance(data, str | os.PathLike):
        return read_raw(os.fspath(data))
    return pair(data, name, f"{name}, x", f"{name}, y")


def pair(data: object, name: str, x_name: str, y_name: str) -> RawData:
    """(x, y) as arrays; InputError, which calls `data` `name`, for anything else."""
    if not isinstance(data, tuple | list) or len(data) != 2:
        given = f"{len(data)} of them" if isinstance(data, tuple | list) else type(data).__name__
        raise InputError(f"give a file, or two arrays (x, y); this is {given}", place=name)
    x, y = data
    return RawData(_arrays(x, x_name), as_array(y, y_name), x_name, y_name)


def read_training(data: Labelled | Arrays, *, labels: bool) -> RawData:
    """Read labelled data; without `labels`, inputs alone are enough: "FILE[:KEY]", or x.

    Where they are alone, y is empty.
    """
    name = "the training data"
    if isinstance(data, tuple):
        return read_labelled(data, name)
    if not isinstance(data, str | os.PathLike):
        return _alone(_arrays(data, name), name)
    spec = os.fspath(data)
    try:
        return read_raw(spec)
    except FileError:
        if labels:
            raise
    path, key = split_spec(spec)
    names = array_names(path) or [] if key is None and is_archive(path) else []
    return _alone(_by_name(path, names) if len(names) > 1 else read_array(spec), spec)


def _arrays(x: object, name: str) -> Inputs:
    """One array, or those of a dict by its keys."""
    if isinstance(x, Mapping):
        return {str(key): as_array(each, f"{name} {key!r}") for key, each in x.items()}
    return as_array(cast("ArrayLike", x), name)


def read_ood(
    data: Path_ | ArrayLike | None,
    shape: tuple[int, ...],
    name: str = "the out-of-distribution data",
    inputs: Entries = (),
) -> Floats | None:
    """Read out-of-distribution inputs [N, *shape]; InputError, at `name`, if they do not fit."""
    if data is None:
        return None
    if isinstance(data, str | os.PathLike):
        return read_inputs(os.fspath(data), shape, inputs)
    return as_inputs(_arrays(data, name), shape, name, inputs)


def _alone(x: Inputs, name: str) -> RawData:
    return RawData(x, np.empty(0, np.float32), name, name)
