"""Data frames of pandas, and of libraries with its interface, as arrays.

Pandas is not imported: whoever has a frame has it already.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeGuard, runtime_checkable

import numpy as np
from numpy.typing import DTypeLike, NDArray

from qbnnc.support.errors import InputError

_NUMBERS = "fiub"
_SHOWN = 3  # columns that an error names


@runtime_checkable
class Frame(Protocol):
    """A table with named columns, each of one dtype, and an index of its rows."""

    @property
    def columns(self) -> Iterable[object]:
        """The names of the columns, in their order."""

    @property
    def dtypes(self) -> Iterable[object]:
        """The dtype of each column: numpy's, or one of pandas' own, which has a `kind` too."""

    @property
    def index(self) -> object:
        """The names of the rows."""

    def to_numpy(
        self, dtype: DTypeLike | None = None, copy: bool = False, na_value: object = None
    ) -> NDArray[np.generic]:
        """All columns as one array [rows, columns]."""


def frame_values(frame: Frame, name: str) -> NDArray[np.float32]:
    """The columns in their order, [rows, columns] float32; a missing value is NaN.

    InputError, which names the columns, for dates, categories, text and other objects.
    """
    check_columns(frame, name)
    with np.errstate(over="ignore"):
        return frame.to_numpy(np.float32, na_value=np.nan).astype(np.float32, copy=False)


def check_columns(frame: Frame, name: str) -> None:
    """InputError, which names the columns, unless all of them hold real numbers."""
    wrong = [
        f"{column!r} holds {dtype}"
        for column, dtype in zip(frame.columns, frame.dtypes, strict=True)
        if getattr(dtype, "kind", "O") not in _NUMBERS
    ]
    if wrong:
        more = f", and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise InputError(
            f"column {', '.join(wrong[:_SHOWN])}{more}, and the network takes real numbers",
            place=name,
            remedy="leave such columns out, or encode them as in training",
        )


def is_frame(x: object) -> TypeGuard[Frame]:
    """Whether it is a data frame; quick for an array."""
    return not isinstance(x, np.ndarray) and isinstance(x, Frame)


def index_of(x: object) -> object:
    """The index of a data frame; None for anything else."""
    return x.index if is_frame(x) else None
