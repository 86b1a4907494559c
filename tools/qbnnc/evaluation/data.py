"""Labelled data: inputs and what is true of them, checked against a network's shapes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qbnnc.ir.head import Task, class_shape
from qbnnc.loading.arrays import read_array, split_spec
from qbnnc.support.errors import FileError, InputError
from qbnnc.support.inputs import as_array, as_batch, layout_advice
from qbnnc.support.numpy_files import array_names, is_archive
from qbnnc.support.text import counted

Shape = tuple[int, ...]
_X, _Y = ("x", "X"), ("y", "Y")


@dataclass(frozen=True, slots=True, eq=False)
class RawData:
    """Arrays as a user gave them; the names are for errors ("test.npz:x")."""

    x: NDArray[np.generic]
    y: NDArray[np.generic]
    x_name: str = "x"
    y_name: str = "y"


@dataclass(frozen=True, slots=True, eq=False)
class LabelledData:
    """N rows that fit a network.

    x is [N, *input shape] float32. Labels y are int64 [N], or [N, *map] for a map of classes
    [K, *map]. Targets y of a regression are, float32 [N, *output shape].
    """

    x: NDArray[np.float32]
    y: NDArray[np.int64] | NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.x)


def read_raw(spec: str) -> RawData:
    """The two arrays of `FILE.npz[:XKEY,YKEY]`; without keys x (or X) and y (or Y).

    FileError if there is no such file or array.
    """
    path, keys = split_spec(spec)
    names = _names(path)
    given = [key.strip() for key in keys.split(",")] if keys is not None else []
    if len(given) not in (0, 2) or "" in given:
        raise FileError("labelled data are two arrays", path, remedy=f"write {path}:XKEY,YKEY")
    x_key, y_key = given or (_default(path, names, _X), _default(path, names, _Y))
    x_name, y_name = f"{path}:{x_key}", f"{path}:{y_key}"
    return RawData(read_array(x_name), read_array(y_name), x_name, y_name)


def read_inputs(spec: str, shape: Shape) -> NDArray[np.float32]:
    """Inputs without labels [N, *shape] of `FILE[:KEY]`; the key is x (or X) by default."""
    path, key = split_spec(spec)
    if key is None and path.suffix.lower() == ".npz" and len(names := _names(path)) > 1:
        spec = f"{path}:{_default(path, names, _X)}"
    return as_inputs(read_array(spec), shape, spec)


def fit(data: RawData, shape: Shape, output: Shape, task: Task) -> LabelledData:
    """The data as a network from rows of `shape` to rows of `output` takes them.

    Values stay as they are: pixels 0..255 are not divided. Axes of length 1 may be missing.
    InputError tells the row. It is raised for no rows, NaN or infinity, and for other shapes or
    lengths. Labels that are not whole numbers 0..K-1 raise it too.
    """
    x = as_inputs(data.x, shape, data.x_name)
    if data.y.ndim == 0 or len(data.y) != len(x):
        rows = "one number" if data.y.ndim == 0 else counted(len(data.y), "row")
        raise InputError(f"{rows}, and {data.x_name} has {len(x)}", place=data.y_name)
    if data.y.dtype.kind not in "fiub":
        raise InputError(
            f"the element type is {data.y.dtype}", place=data.y_name, remedy="give numbers"
        )
    if task is Task.CLASSIFICATION:
        return LabelledData(x, _labels(data.y, data.y_name, class_shape(output)))
    return LabelledData(x, _targets(data.y, data.y_name, output))


def as_inputs(x: NDArray[np.generic], shape: Shape, name: str) -> NDArray[np.float32]:
    """x as a finite float32 batch [N, *shape] of one row or more; InputError otherwise."""
    if x.ndim and x.shape[1:] != shape:
        if _without_ones(x.shape[1:]) != _without_ones(shape):
            raise _misfit(x, shape, name)
        x = x.reshape(len(x), *shape)
    batch = as_batch(x, shape, name)
    if len(batch) == 0:
        raise InputError("no rows", place=name, remedy="give one or more")
    if len(rows := _rows(~np.isfinite(batch))):
        raise InputError(f"infinity in row {rows[0]}", place=name, remedy="remove such rows")
    return batch


def looks_like_labels(y: NDArray[np.generic], output: Shape) -> bool:
    """Whether y could be labels of a network with `output` [K], K > 1."""
    output = class_shape(output)
    if len(output) != 1 or y.dtype.kind not in "fiub" or y.size == 0:
        return False
    numbers = y.astype(np.float64)
    whole = (numbers == np.floor(numbers)) & (numbers >= 0) & (numbers < output[0])
    return y.ndim == 1 and bool(whole.all())


def _labels(y: NDArray[np.generic], name: str, output: Shape) -> NDArray[np.int64]:
    classes, rest = output[0], output[1:]
    if y.shape[1:] == output and classes > 1:
        raise InputError(
            f"the shape is {list(y.shape)}",
            place=name,
            remedy=f"give labels 0..{classes - 1}, one a row, such as "
            f"{name.rpartition(':')[2]}.argmax(axis=1)",
        )
    if _without_ones(y.shape[1:]) != _without_ones(rest):
        raise InputError(f"the shape is {list(y.shape)}, and labels are {_batch(rest)}", place=name)
    numbers = y.astype(np.float64).reshape(len(y), *rest)
    for wrong, what in (
        (np.isnan(numbers), "NaN"),
        (numbers != np.floor(numbers), "not a whole number"),
        ((numbers < 0) | (numbers >= classes), "out of range"),
    ):
        if len(rows := _rows(wrong)):
            value = numbers[rows[0]][wrong[rows[0]]].flat[0]
            raise InputError(
                f"row {rows[0]} is {value:g}, {what}",
                place=name,
                remedy=f"labels of this network are whole numbers 0..{classes - 1}",
            )
    return numbers.astype(np.int64)


def _targets(y: NDArray[np.generic], name: str, output: Shape) -> NDArray[np.float32]:
    if _without_ones(y.shape[1:]) != _without_ones(output):
        raise InputError(
            f"the shape is {list(y.shape)}, and the network's output is {_batch(output)}",
            place=name,
            remedy=_halves_advice(y.shape[1:], output),
        )
    with np.errstate(over="ignore"):
        targets = np.ascontiguousarray(y, np.float32).reshape(len(y), *output)
    if len(rows := _rows(~np.isfinite(targets))):
        raise InputError(f"NaN or infinity in row {rows[0]}", place=name, remedy="remove such rows")
    return targets


def _halves_advice(target: Shape, output: Shape) -> str:
    """For one output of twice the size: it may be mean and log variance."""
    if np.prod(output, dtype=int) != 2 * np.prod(target, dtype=int):
        return ""
    return "if it holds a mean and a log variance, say `output_names='mean,log_var'`"


def _rows(wrong: NDArray[np.bool_]) -> list[int]:
    """The rows, the first axis, in which anything is wrong."""
    return [int(row) for row in np.unique(np.nonzero(wrong)[0])]


def _without_ones(shape: Shape) -> Shape:
    return tuple(n for n in shape if n != 1)


def _misfit(x: NDArray[np.generic], shape: Shape, name: str) -> InputError:
    return InputError(
        f"the shape is {list(x.shape)}, and the network takes {_batch(shape)}",
        place=name,
        remedy=layout_advice(x.shape[1:], shape, name.rpartition(":")[2]),
    )


def _batch(shape: Shape) -> str:
    return f"[rows{''.join(f', {n}' for n in shape)}]"


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


Path_: TypeAlias = str | os.PathLike[str]
Labelled: TypeAlias = Path_ | tuple[ArrayLike, ArrayLike]
Floats = NDArray[np.float32]


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
    return RawData(as_array(x, x_name), as_array(y, y_name), x_name, y_name)


def read_training(data: Labelled | ArrayLike, *, labels: bool) -> RawData:
    """Read labelled data; without `labels`, inputs alone are enough: "FILE[:KEY]", or x.

    Where they are alone, y is empty.
    """
    name = "the training data"
    if isinstance(data, tuple):
        return read_labelled(data, name)
    if not isinstance(data, str | os.PathLike):
        return _alone(as_array(data, name), name)
    spec = os.fspath(data)
    try:
        return read_raw(spec)
    except FileError:
        if labels:
            raise
    return _alone(read_array(spec), spec)


def has_labels(data: RawData) -> bool:
    """Whether there is more than inputs."""
    return data.y.size > 0 or len(data.x) == 0


def read_ood(
    data: Path_ | ArrayLike | None,
    shape: tuple[int, ...],
    name: str = "the out-of-distribution data",
) -> Floats | None:
    """Read out-of-distribution inputs [N, *shape]; InputError, at `name`, if they do not fit."""
    if data is None:
        return None
    if isinstance(data, str | os.PathLike):
        return read_inputs(os.fspath(data), shape)
    return as_inputs(as_array(data, name), shape, name)


def _alone(x: NDArray[np.generic], name: str) -> RawData:
    return RawData(x, np.empty(0, np.float32), name, name)
