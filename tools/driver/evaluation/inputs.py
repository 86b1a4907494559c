"""Data to train and test with, from files or memory, as far as told without a network."""

from __future__ import annotations

import os
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qbnnc.arrays import read_array
from qbnnc.evaluation.data import RawData, as_inputs, read_inputs, read_raw
from qbnnc.ir.errors import FileError

Path_: TypeAlias = str | os.PathLike[str]
Labelled: TypeAlias = Path_ | tuple[ArrayLike, ArrayLike]
Floats = NDArray[np.float32]


def read_labelled(data: Labelled, name: str) -> RawData:
    """ "FILE.npz[:XKEY,YKEY]", or (x, y), which errors call `name`; FileError if unreadable."""
    if isinstance(data, str | os.PathLike):
        return read_raw(os.fspath(data))
    x, y = data
    return RawData(np.asarray(x), np.asarray(y), f"{name}, x", f"{name}, y")


def read_training(data: Labelled | ArrayLike, *, labels: bool) -> RawData:
    """As `read_labelled`; without `labels`, inputs alone are enough: "FILE[:KEY]", or x.

    Where they are alone, y is empty.
    """
    name = "the training data"
    if isinstance(data, tuple):
        return read_labelled(data, name)
    if not isinstance(data, str | os.PathLike):
        return _alone(np.asarray(data), name)
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
    return as_inputs(np.asarray(data), shape, "the confusion data")


def _alone(x: NDArray[np.generic], name: str) -> RawData:
    return RawData(x, np.empty(0, np.float32), name, name)
