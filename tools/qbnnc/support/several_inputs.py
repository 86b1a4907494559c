"""Several inputs as one batch of rows: the arrays of a tuple or dict, one after another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qbnnc.support.errors import InputError
from qbnnc.support.inputs import as_array, as_rows, nan_error

Arrays: TypeAlias = "ArrayLike | Mapping[str, ArrayLike] | Sequence[ArrayLike]"
"""What a network takes: one array [B, *shape], or the arrays of several inputs."""

MOST_WHOLE = 2**24
"""float32 holds all whole numbers up to it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One input of a network: elements start, start + 1, ... of the row are it, in its shape.

    `whole` says that its tensor was one of whole numbers when the network was traced.
    """

    name: str
    shape: tuple[int, ...]
    start: int = 0
    whole: bool = False

    @property
    def size(self) -> int:
        """Elements of one row."""
        return prod(self.shape)

    @property
    def stop(self) -> int:
        """The element of the row after the last one."""
        return self.start + self.size

    def of(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """This input [B, *shape] of rows [B, N]."""
        return rows[:, self.start : self.stop].reshape(len(rows), *self.shape)

    def __str__(self) -> str:
        """ "image [batch, 3, 8, 8]" """
        return f"{self.name} {self.shown}"

    @property
    def shown(self) -> str:
        """ "[batch, 3, 8, 8]" """
        return f"[batch{''.join(f', {n}' for n in self.shape)}]"


Entries: TypeAlias = tuple[Entry, ...]


def _check_row(rows: ArrayLike, entries: Entries, name: str) -> None:
    """InputError unless one array [B, N] holds all inputs one after another."""
    shape: tuple[int, ...] = np.asarray(rows).shape
    if shape[1:] != (entries[-1].stop,):
        raise InputError(
            f"one array [{', '.join(map(str, shape))}], and the network takes {described(entries)}",
            place=name,
            remedy="give an array for each of these names",
        )


def _check_whole(array: ArrayLike, place: str) -> None:
    """InputError for whole numbers that float32 would round."""
    numbers = np.asarray(array)
    if numbers.dtype.kind in "iu" and numbers.size:
        largest = max(-int(numbers.min()), int(numbers.max()))
        if largest > MOST_WHOLE:
            raise InputError(
                f"holds {largest}, and whole numbers are exact up to 2^24",
                place=place,
                remedy="number the ids anew, from 0 on, or give real numbers",
            )


def shapes(entries: Entries) -> str:
    """ "[batch, 3]" of one input; the names and shapes of several."""
    return described(entries) if len(entries) > 1 else entries[0].shown


def described(entries: Entries) -> str:
    """ "image [batch, 3, 8, 8] and features [batch, 4]" """
    *first, last = map(str, entries)
    return f"{', '.join(first)} and {last}" if first else last


def packed(x: Arrays, entries: Entries, name: str = "the input") -> ArrayLike:
    """The rows [B, N] f32 of several inputs: a dict by their names, or a tuple in their order.

    An array stays as it is: it holds the rows of a network of one input, or the inputs of several
    one after another. A dict with the one name of a single input gives its array.
    InputError for a name that is missing or unknown, a shape that does not fit, other numbers of
    rows, and whatever is no real number.
    """
    if isinstance(x, Mapping):
        arrays = _by_name(x, entries, name)
    elif len(entries) > 1 and isinstance(x, tuple | list):
        arrays = _in_order(x, entries, name)
    else:
        rows = cast("ArrayLike", x)
        if len(entries) > 1:
            _check_row(rows, entries, name)
        return rows
    if len(entries) == 1:
        return arrays[0]
    return joined(arrays, entries, name)


def as_packed_rows(x: Arrays, entries: Entries, name: str = "the input") -> NDArray[np.float32]:
    """`packed`, as a C-contiguous float32 batch in which NaN is not looked for."""
    return as_rows(packed(x, entries, name), row_shape(entries), name)


def as_packed_batch(x: Arrays, entries: Entries, name: str = "the input") -> NDArray[np.float32]:
    """`packed`, as a C-contiguous float32 batch without NaN; InputError for NaN."""
    batch = as_packed_rows(x, entries, name)
    if batch.size and np.isnan(np.maximum.reduce(batch, axis=None)):
        raise _nan_error(batch, entries, name)
    return batch


def _nan_error(batch: NDArray[np.float32], entries: Entries, name: str) -> InputError:
    if len(entries) == 1:
        return nan_error(batch, name)
    for entry in entries:
        if np.isnan(part := entry.of(batch)).any():
            return nan_error(part, _place(entry, name))
    return nan_error(batch, name)


def row_shape(entries: Entries) -> tuple[int, ...]:
    """The shape of a row: that of one input, or [N] of several."""
    return entries[0].shape if len(entries) == 1 else (entries[-1].stop,)


def joined(arrays: Sequence[ArrayLike], entries: Entries, name: str) -> NDArray[np.float32]:
    """The rows [B, N] of one array for each input."""
    first = as_rows(arrays[0], entries[0].shape, _place(entries[0], name))
    rows = np.empty((len(first), entries[-1].stop), np.float32)
    for entry, array in zip(entries, arrays, strict=True):
        place = _place(entry, name)
        part = first if entry is entries[0] else as_rows(array, entry.shape, place)
        _check_whole(array, place)
        if len(part) != len(first):
            raise InputError(
                f"{len(part)} rows, and {entries[0].name!r} has {len(first)}",
                place=_place(entry, name),
                remedy="give each input as many rows",
            )
        rows[:, entry.start : entry.stop] = part.reshape(len(part), entry.size)
    return rows


def unpacked(rows: NDArray[np.float32], entries: Entries) -> dict[str, NDArray[np.float32]]:
    """The arrays [B, *shape] of rows [B, N], by name; views."""
    return {entry.name: entry.of(rows) for entry in entries}


def as_example(x: Arrays, name: str) -> NDArray[np.generic] | Mapping[str, object] | Sequence[Any]:
    """`x` as a front end takes it: one array, or the tuple or dict that it is.

    Only the front end knows whether a network takes several; a list of lists is one array.
    """
    if isinstance(x, Mapping) or (isinstance(x, tuple | list) and len(x) > 1 and _holds_arrays(x)):
        return x
    return as_array(cast("ArrayLike", x), name)


def _holds_arrays(x: object) -> bool:
    """Whether this is a list or tuple of arrays, or of what holds them."""
    return (
        isinstance(x, tuple | list)
        and len(x) > 0
        and all(
            isinstance(each, Mapping) or getattr(each, "ndim", 0) > 0 or _holds_arrays(each)
            for each in x
        )
    )


def _leaves(x: object, path: str = "") -> Iterator[tuple[str, ArrayLike]]:
    """The arrays in dicts, lists and tuples, in order, with the keys on the way to them."""
    if isinstance(x, Mapping):
        inside = [(str(key), value) for key, value in x.items()]
    elif isinstance(x, tuple) or _holds_arrays(x):
        assert isinstance(x, tuple | list)
        inside = [(str(place), value) for place, value in enumerate(x)]
    else:
        yield path, cast("ArrayLike", x)
        return
    for key, value in inside:
        yield from _leaves(value, f"{path}.{key}".removeprefix("."))


def _by_name(given: Mapping[str, object], entries: Entries, name: str) -> list[ArrayLike]:
    x, names = dict(_leaves(given)), [entry.name for entry in entries]
    if unknown := [str(key) for key in x if key not in names]:
        raise InputError(
            f"no input is called {unknown[0]!r}",
            place=name,
            remedy=f"the network takes {described(entries)}",
        )
    if missing := [each for each in names if each not in x]:
        raise InputError(
            f"{missing[0]!r} is missing",
            place=name,
            remedy=f"the network takes {described(entries)}",
        )
    return [x[each] for each in names]


def _in_order(given: Sequence[object], entries: Entries, name: str) -> list[ArrayLike]:
    x = [array for _, array in _leaves(tuple(given))]
    if len(x) != len(entries):
        raise InputError(
            f"{len(x)} arrays, and the network takes {len(entries)}: {described(entries)}",
            place=name,
            remedy="give one for each, or a dict by these names",
        )
    return x


def _place(entry: Entry, name: str) -> str:
    return f"{name} {entry.name!r}"
