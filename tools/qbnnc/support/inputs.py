"""The batch a user hands to any backend: checked once, the same way everywhere."""

from __future__ import annotations

import math
from contextlib import suppress
from enum import Enum
from typing import SupportsFloat, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qbnnc.support import limits
from qbnnc.support.errors import InputError, UserError
from qbnnc.support.frames import frame_values, is_frame


def as_batch(x: ArrayLike, shape: tuple[int, ...], name: str = "the input") -> NDArray[np.float32]:
    """`x` as a C-contiguous float32 batch [B, *shape] without NaN; B may be 0.

    float64, float16, integers and booleans are cast, and data frames of them. Raises InputError for
    another shape, for complex numbers, objects or text, and for NaN. Infinity is clipped by the
    quantiser.
    """
    batch = as_rows(x, shape, name)
    # The maximum of anything with NaN is NaN.
    if batch.size and math.isnan(np.maximum.reduce(batch, axis=None)):
        raise nan_error(batch, name)
    return batch


def as_rows(x: ArrayLike, shape: tuple[int, ...], name: str = "the input") -> NDArray[np.float32]:
    """`x` as `as_batch` gives it, in which NaN is not looked for."""
    array = frame_values(x, name) if is_frame(x) else as_array(x, name)
    if array.dtype.kind not in "fiub":
        raise InputError(
            f"the element type is {array.dtype}, and the network takes real numbers",
            place=name,
            remedy="convert it to float32",
        )
    if array.ndim == 0 or array.shape[1:] != shape:
        raise InputError(
            f"the shape is {list(array.shape)}, and the network takes "
            f"[batch{''.join(f', {n}' for n in shape)}]",
            place=name,
            remedy=layout_advice(array.shape[1:], shape, "x.to_numpy()" if is_frame(x) else "x"),
        )
    if array.dtype == np.float32:
        return np.ascontiguousarray(array, np.float32)
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(array, np.float32)


def nan_error(batch: NDArray[np.float32], name: str = "the input") -> InputError:
    """The error for a batch with NaN, which names the first row that has one."""
    rows = np.isnan(batch).reshape(len(batch), -1).any(axis=1)
    row = int(rows.argmax())
    return InputError(f"NaN in row {row}", place=name, remedy="remove or fill in missing values")


def layout_advice(rows: tuple[int, ...], shape: tuple[int, ...], array: str = "x") -> str:
    """The remedy for an `array` with such rows that should have rows of `shape`; or "".

    >>> layout_advice((8, 8, 3), (3, 8, 8))
    'channels come first, so give x.transpose(0, 3, 1, 2)'
    """
    if len(shape) == 3 and rows == (*shape[1:], shape[0]):
        return f"channels come first, so give {array}.transpose(0, 3, 1, 2)"
    if rows and math.prod(rows) == math.prod(shape):
        return f"give {array}.reshape({', '.join(map(str, (-1, *shape)))})"
    return ""


def as_integer(value: object, name: str) -> int:
    """A seed, row or count as a Python int; InputError if it is not a whole number."""
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return int(value)
    raise InputError(f"{value!r} is not a whole number", place=name)


def as_array(x: ArrayLike, name: str) -> NDArray[np.generic]:
    """`x` as an array of any type and shape; InputError if it is none, as of rows that differ."""
    try:
        return np.asarray(x)
    except (ValueError, TypeError, RuntimeError) as error:
        raise InputError(f"not an array of numbers ({error})", place=name) from error


def evenly_spaced(rows: int, most: int) -> NDArray[np.int64]:
    """The numbers of `most` rows, the first and the last among them; all if there are no more.

    >>> evenly_spaced(5, 3).tolist(), evenly_spaced(2, 3).tolist()
    ([0, 2, 4], [0, 1])
    """
    if rows <= most:
        return np.arange(rows)
    return np.linspace(0, rows - 1, most).round().astype(np.int64)


MOST_PREDICTED = 4 << 30
"""Bytes of the samples that one prediction gives: 4 for each row, sample and output element."""
MOST_ROWS_AT_ONCE = 2**31 - 1
MOST_THREADS = 1024


def as_count(value: object, name: str, most: int) -> int:
    """A whole number from 1 to `most`; InputError otherwise, which names value and limit."""
    if (number := as_integer(value, name)) < 1:
        raise InputError(f"{number} is not a positive number", place=name)
    if number > most:
        raise InputError(f"{number}", place=name, remedy=f"give {most} or less")
    return number


def as_first_row(value: object) -> int:
    """The number of a batch's first row, which counts mod 2^64; InputError if it is negative."""
    if (number := as_integer(value, "first_row")) < 0:
        raise InputError(f"{number}", place="first_row", remedy="rows are numbered from 0")
    return number


def check_asked(rows: int, samples: int, members: int, elements: int) -> None:
    """InputError for a prediction of more draws, or more bytes of samples, than any may have.

    `elements` are those of all outputs for one row and sample.
    """
    if samples > limits.DRAWS.most * members:
        each = "" if members == 1 else f" for each of the {members} members"
        raise InputError(
            f"{samples}; a prediction has {limits.DRAWS.most} at most{each}",
            place="samples",
            remedy="predict again with other seeds",
        )
    if (total := 4 * rows * samples * elements) > MOST_PREDICTED:
        raise InputError(
            f"{samples} of {rows} rows, {elements} numbers each, take {total} bytes, and a "
            f"prediction {MOST_PREDICTED} at most",
            place="samples",
            remedy="give fewer rows, or ask for fewer samples",
        )


E = TypeVar("E", bound=Enum)


def choice(name: str, kind: type[E], value: object) -> E:
    """The member of an enum by its value; UserError that lists them.

    >>> from qbnnc.passes.options import Scales
    >>> choice("scales", Scales, "pow2")
    <Scales.POW2: 'pow2'>
    """
    try:
        return kind(value)
    except ValueError:
        choices = ", ".join(str(member.value) for member in kind)
        raise UserError(f"choose one of {choices}", place=f"`{name}` {value!r}") from None


def number(name: str, value: object) -> float:
    """A finite number; UserError otherwise.

    >>> number("lr", 1)
    1.0
    """
    if isinstance(value, SupportsFloat) and not isinstance(value, bool):
        with suppress(ValueError, TypeError, OverflowError):
            if math.isfinite(found := float(value)):
                return found
    raise UserError("give a finite number", place=f"`{name}` {value!r}")


def whole(name: str, value: object, least: int, most: int | None = None) -> int:
    """A whole number that is not below `least` or above `most`; UserError otherwise.

    >>> whole("samples", 20, 1)
    20
    """
    number = as_integer(value, f"`{name}`")
    if number < least:
        raise UserError(f"give {least} or more", place=f"`{name}` {number}")
    if most is not None and number > most:
        raise UserError(f"give {most} or less", place=f"`{name}` {number}")
    return number
