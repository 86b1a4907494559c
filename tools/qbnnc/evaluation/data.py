"""Labelled data: inputs and what is true of them, checked against a network's shapes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.head import Task, class_shape
from qbnnc.support.errors import InputError
from qbnnc.support.inputs import as_batch, layout_advice
from qbnnc.support.several_inputs import Entries, packed
from qbnnc.support.text import counted

Shape = tuple[int, ...]
Inputs: TypeAlias = NDArray[np.generic] | Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True, slots=True, eq=False)
class RawData:
    """Arrays as a user gave them; the names are for errors ("test.npz:x").

    x is one array, or the arrays of several inputs by name.
    """

    x: Inputs
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


def fit(
    data: RawData, shape: Shape, output: Shape, task: Task, inputs: Entries = ()
) -> LabelledData:
    """The data as a network from rows of `shape` to rows of `output` takes them.

    Values stay as they are: pixels 0..255 are not divided. Axes of length 1 may be missing.
    InputError tells the row. It is raised for no rows, NaN or infinity, and for other shapes or
    lengths. Labels that are not whole numbers 0..K-1 raise it too.
    """
    x = as_inputs(data.x, shape, data.x_name, inputs)
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


def as_inputs(x: Inputs, shape: Shape, name: str, inputs: Entries = ()) -> NDArray[np.float32]:
    """x as a finite float32 batch [N, *shape] of one row or more; InputError otherwise.

    Arrays by name are joined in the order of the network's `inputs`.
    """
    if isinstance(x, Mapping):
        if len(inputs) < 2:
            raise InputError(
                f"holds the arrays {', '.join(x)}, and the network takes one input {_batch(shape)}",
                place=name,
                remedy="name its array x",
            )
        x = np.asarray(packed(x, inputs, name))
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


def check_rows(data: RawData) -> None:
    """InputError for no rows, or numbers that are not finite, before any network is known."""
    if not isinstance(data.x, Mapping):
        as_inputs(data.x, data.x.shape[1:], data.x_name)


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


Floats = NDArray[np.float32]


def has_labels(data: RawData) -> bool:
    """Whether there is more than inputs."""
    x = next(iter(data.x.values()), ()) if isinstance(data.x, Mapping) else data.x
    return data.y.size > 0 or len(x) == 0
