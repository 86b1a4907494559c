"""The batch a user hands to any backend: checked once, the same way everywhere."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qbnnc.ir.errors import InputError


def as_batch(x: ArrayLike, shape: tuple[int, ...], name: str = "the input") -> NDArray[np.float32]:
    """`x` as a C-contiguous float32 batch [B, *shape]; B may be 0.

    float64, float16, integers and booleans are cast. Raises InputError for another shape, for
    complex numbers, objects or text, and for NaN. Infinity is clipped by the quantiser.
    """
    array = as_array(x, name)
    if array.dtype.kind not in "fiub":
        raise InputError(
            f"{name}: the element type is {array.dtype}, and the network takes real numbers: "
            "convert it to float32"
        )
    if array.ndim == 0 or array.shape[1:] != shape:
        raise InputError(
            f"{name}: the shape is {list(array.shape)}, and the network takes "
            f"[batch{''.join(f', {n}' for n in shape)}]{layout_advice(array.shape[1:], shape)}"
        )
    if array.dtype == np.float32:
        batch = np.ascontiguousarray(array, np.float32)
    else:
        with np.errstate(over="ignore"):
            batch = np.ascontiguousarray(array, np.float32)
    # The maximum of anything with NaN is NaN.
    if batch.size and math.isnan(np.maximum.reduce(batch, axis=None)):
        row = int(np.argwhere(np.isnan(batch))[0][0])
        raise InputError(f"{name}: NaN in row {row}; remove or fill in missing values")
    return batch


def layout_advice(rows: tuple[int, ...], shape: tuple[int, ...], array: str = "x") -> str:
    """What makes rows of `shape` of the `array` with such rows: the end of a sentence, or nothing.

    >>> layout_advice((8, 8, 3), (3, 8, 8))
    ': channels come first, so give x.transpose(0, 3, 1, 2)'
    """
    if len(shape) == 3 and rows == (*shape[1:], shape[0]):
        return f": channels come first, so give {array}.transpose(0, 3, 1, 2)"
    if rows and math.prod(rows) == math.prod(shape):
        return f": give {array}.reshape({', '.join(map(str, (-1, *shape)))})"
    return ""


def as_integer(value: object, name: str) -> int:
    """A seed, row or count as a Python int; InputError if it is not a whole number."""
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return int(value)
    raise InputError(f"{name}: {value!r} is not a whole number")


def as_array(x: ArrayLike, name: str) -> NDArray[np.generic]:
    """`x` as an array of any type and shape; InputError if it is none, as of rows that differ."""
    try:
        return np.asarray(x)
    except (ValueError, TypeError, RuntimeError) as error:
        raise InputError(f"{name}: not an array of numbers ({error})") from error
