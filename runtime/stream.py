"""Predictions one after the other, whose rows are counted."""

from __future__ import annotations

from threading import Lock
from typing import Protocol

from numpy.typing import ArrayLike

from qbnnc.runtime.prediction import Prediction
from qbnnc.support.frames import index_of
from qbnnc.support.id_rows import Rows
from qbnnc.support.inputs import as_first_row
from qbnnc.support.several_inputs import Arrays


class Predicting(Protocol):
    """A session, as far as a stream needs one."""

    def predict(
        self, x: ArrayLike, samples: int | None = None, seed: int = 0, first_row: int = 0
    ) -> Prediction:
        """Compute samples and statistics of a batch."""


class Stream:
    """Rows that come in parts, with the random numbers that they have in one batch.

    Calls of `predict` with the rows [0, 3) and [3, 8) return the bits that one call with the rows
    [0, 8) returns. Without a stream, or `first_row`, a call always begins at row 0: rows predicted
    one by one would all have the same masks, and so the same errors. Threads may share a stream:
    each call takes the next rows.
    """

    def __init__(
        self,
        session: Predicting,
        rows: Rows,
        samples: int | None,
        seed: int,
        first_row: int,
    ) -> None:
        self._session, self._rows, self._samples = session, rows, samples
        self._seed, self._row, self._lock = seed, as_first_row(first_row), Lock()

    @property
    def row(self) -> int:
        """The number of the next row."""
        return self._row

    def predict(self, x: Arrays) -> Prediction:
        """Predict the next rows x [B, *shape], or those of several inputs.

        InputError if x does not fit, and then no row is counted.
        """
        batch = self._rows.of(x)
        with self._lock:
            row, self._row = self._row, as_first_row(self._row + len(batch))
        made = self._session.predict(batch, self._samples, self._seed, row)
        index = index_of(x)
        return made if index is None else made.indexed(index)
