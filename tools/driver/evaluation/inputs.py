"""Data to train and test with, from files or memory, as far as told without a network."""

from __future__ import annotations

import os
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qbnnc.arrays import read_array
from qbnnc.evaluation.data import RawData, as_inputs, read_inputs, read_raw
from qbnnc.ir.errors import FileError, InputError
from qbnnc.ir.inputs import as_array

Path_: TypeAlias = str | os.PathLike[str]
Labelled: TypeAlias = Path_ | tuple[ArrayLike, ArrayLike]
Floats = NDArray[np.float32]


def read_labelled(data: Labelled, name: str) -> RawData:
    """ "FILE.npz[:XKEY,YKEY]", or (x, y), which errors call `name`; FileError if unreadable."""
    if isinstance(data, str | os.PathLike):
        return read_raw(os.fspath(data))
    return pair(data, name, f"{name}, x", f"{name}, y")


def pair(data: object, name: str, x_name: str, y_name: str) -> RawData:
    """(x, y) as arrays; InputError, which calls `data` `name`, for anything else."""
    if not isinstance(data, tuple | list) or len(data) != 2:
        given = f"{len(data)} of them" if isinstance(data, tuple | list) else type(data).__name__
        raise InputError(f"{name}: give a file, or two arrays (x, y); this is {given}")
    x, y = data
    return RawData(as_array(x, x_name), as_array(y, y_name), x_name, y_name)


def read_training(data: Labelled | ArrayLike, *, labels: bool) -> RawData:
    """As `read_labelled`; without `labels`, inputs alone are enough: "FILE[:KEY]", or x.

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


def read_confusion(data: Path_ | ArrayLike | None, shape: tuple[int, ...]) -> Floats | None:
    """Inputs from elsewhere [N, *shape]; InputError if they do not fit."""
    if data is None:
        return None
    if isinstance(data, str | os.PathLike):
        return read_inputs(os.fspath(data), shape)
    return as_inputs(as_array(data, "the confusion data"), shape, "the confusion data")


def _alone(x: NDArray[np.generic], name: str) -> RawData:
    return RawData(x, np.empty(0, np.float32), name, name)
