"""Compiled ONNX files, run by an engine: onnxruntime unless another is asked for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qbnnc.backends.onnx.artefact import Description, StoredValue, read_file
from qbnnc.backends.onnx.engine import Engine, OnnxRuntime, Runner, load_error, one_line
from qbnnc.backends.onnx.names import FIRST_ROW, RNG_CHECK, ROW_IDS, SEED
from qbnnc.backends.onnx.proto import File, with_outputs
from qbnnc.ir.types import Array
from qbnnc.support.errors import FileError, UserError
from qbnnc.support.files import read_bytes
from qbnnc.support.inputs import (
    MOST_ROWS_AT_ONCE,
    MOST_THREADS,
    as_count,
    as_integer,
    check_asked,
)
from qbnnc.support.row_ids import as_row_ids, ids_from
from qbnnc.support.several_inputs import Arrays

Numbers = int | NDArray[np.int64]
"""The number of a batch's first row, or those of all rows: what a file takes."""


@dataclass(frozen=True, slots=True, eq=False)
class OnnxArtefact:
    """An ONNX file of ours, ready to run."""

    path: str
    description: Description
    file: File
    _data: bytes
    _threads: int | None = None
    _engine: Engine = field(default_factory=OnnxRuntime)
    _sessions: dict[int, Runner] = field(default_factory=dict)

    @staticmethod
    def load(path: str | os.PathLike[str], threads: int | None = None) -> OnnxArtefact:
        """Read a file; FileError if it is no ONNX file, not ours, damaged or changed.

        ArtefactWarning for a file so old that it cannot say whether it was changed.
        `threads` are onnxruntime's own choice by default.
        """
        return OnnxArtefact.from_bytes(read_bytes(path), path, threads)

    @staticmethod
    def from_bytes(
        data: bytes,
        path: str | os.PathLike[str] = "model.onnx",
        threads: int | None = None,
        engine: Engine | None = None,
    ) -> OnnxArtefact:
        """The artefact in `data`; `path` is for errors, `engine` is onnxruntime by default."""
        file, description = read_file(data, path)
        name = os.fspath(path)
        return OnnxArtefact(name, description, file, data, threads, engine or OnnxRuntime())

    @property
    def digest(self) -> str:
        """The SHA-256 of the Model; artefacts of one compile share it."""
        return self.description.digest

    @property
    def samples(self) -> int:
        """The number of samples L, fixed when the file was made."""
        return self.description.samples

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one row, in which several inputs follow one another."""
        return self.description.input_shape

    @property
    def output_names(self) -> tuple[str, ...]:
        """The samples, then the statistics."""
        return self.description.output_names

    def predict(
        self,
        x: Arrays,
        samples: int | None = None,
        seed: int = 0,
        first_row: int = 0,
        batch_size: int | None = None,
        threads: int | None = None,
        row_ids: ArrayLike | None = None,
    ) -> dict[str, NDArray[np.float32]]:
        """All outputs for a batch x [B, *shape]: samples [L, B, ...] and statistics [B, ...].

        With fewer `samples` than the file has, the first ones, and the statistics of those. The
        batch is run `batch_size` rows at a time, all at once by default, or by a file's own number
        of rows. No bit of the samples depends on it. Rows one by one without `first_row` all draw
        the masks of row 0: count them. `threads`: those of `load` by default.
        `row_ids` [B] are the rows' numbers one by one, in place of `first_row`, for a file that
        was compiled with them. InputError for data that does not fit, UserError for a number of
        samples the file cannot give, or for `row_ids` that it does not take.
        """
        count = self._sample_count(samples)
        batch, session = self.description.rows.of(x), self._session(threads)
        sample_names = self.description.sample_names
        names = self.output_names if count == self.samples else sample_names
        check_asked(
            len(batch), self.samples, self.description.members, self.description.output_size
        )
        step = max(1, len(batch))
        if batch_size is not None:
            step = as_count(batch_size, "batch_size", MOST_ROWS_AT_ONCE)
        step = self.description.batch or step
        number, numbers = as_integer(seed, "seed"), self._numbers(len(batch), first_row, row_ids)
        parts = [
            self._predicted(
                session, names, batch[start : start + step], number, _from(numbers, start, step)
            )
            for start in range(0, max(1, len(batch)), step)
        ]
        whole = {
            name: np.concatenate(arrays, axis=int(name in sample_names))
            for name, arrays in zip(names, zip(*parts, strict=True), strict=True)
        }
        return whole if count == self.samples else self._first(whole, count)

    def values(
        self, x: Arrays, names: Sequence[str], *, seed: int = 0, first_row: int = 0
    ) -> dict[str, Array]:
        """Values of the IR by name ("member<i>/name" with several members).

        Each is [L, B, *shape], with 1 in place of L or B where it does not vary; L counts one
        member's samples. UserError for a value that is not in the file: see `value_names`.
        """
        batch = self.description.rows.of(x)
        if len(batch) > (self.description.batch or len(batch)):
            raise UserError(f"takes {self.description.batch} rows at a time", place=self.path)
        if missing := [name for name in names if name not in self.description.values]:
            raise UserError(f"holds no value called {missing[0]!r}", place=self.path)
        stored = [self.description.values[name] for name in names]
        session = self._open(self._exposing(stored), self._threads)
        number, numbers = as_integer(seed, "seed"), self._numbers(len(batch), first_row, None)
        arrays = self._run(session, [s.name for s in stored], batch, number, numbers)
        apart = (self._apart(s, a, len(batch)) for s, a in zip(stored, arrays, strict=True))
        return dict(zip(names, apart, strict=True))

    def trace(
        self, x: Arrays, samples: int | None = None, seed: int = 0, first_row: int = 0
    ) -> dict[str, Array]:
        """All values of the IR that are in the file, as `values` gives them; for small batches."""
        draws = self._sample_count(samples) // self.description.members
        every = self.values(x, self.value_names, seed=seed, first_row=first_row)
        return {name: array[:draws] for name, array in every.items()}

    @property
    def value_names(self) -> tuple[str, ...]:
        """The names `values` takes, in the order in which they are computed."""
        return tuple(self.description.values)

    def _first(
        self, whole: dict[str, NDArray[np.float32]], count: int
    ) -> dict[str, NDArray[np.float32]]:
        """The first samples, and the statistics made of them."""
        samples = {name: array[:count] for name, array in whole.items()}
        return samples | self.description.head.evaluate(tuple(samples.values()))

    def _sample_count(self, samples: int | None) -> int:
        if samples is None:
            return self.samples
        count, members = as_integer(samples, "samples"), self.description.members
        if not 1 <= count <= self.samples or count % members:
            multiple = f" that is a multiple of {members}" if members > 1 else ""
            more = "" if self.samples == members else "; for more compile with a larger `samples`"
            raise UserError(
                f"gives up to {self.samples} samples, not {count}",
                place=self.path,
                remedy=f"ask for a number{multiple} in 1..{self.samples}{more}",
            )
        return count

    def rng_check(self, seed: int = 0) -> tuple[int, ...] | None:
        """The output `rng_check` for this seed; None for a file without."""
        if not self.description.rng_check:
            return None
        batch = np.zeros((1, *self.input_shape), np.float32)
        number, numbers = as_integer(seed, "seed"), self._numbers(1, 0, None)
        (lanes,) = self._run(self._session(None), [RNG_CHECK], batch, number, numbers)
        return tuple(int(lane) for lane in np.ravel(lanes))

    def _numbers(self, rows: int, first_row: int, row_ids: ArrayLike | None) -> Numbers:
        """The rows' numbers as the file takes them; UserError if it does not take `row_ids`."""
        if self.description.row_ids:
            if row_ids is None:
                return ids_from(first_row, rows)
            return as_row_ids(row_ids, rows, first_row)
        if row_ids is not None:
            raise UserError(
                "takes `first_row`, and no `row_ids`",
                place=self.path,
                remedy="compile it with `row_ids=True`",
            )
        return as_integer(first_row, "first_row")

    def _exposing(self, values: Sequence[StoredValue]) -> bytes:
        """The file with more outputs."""
        known = {info.name: info for info in self.file.values}
        return with_outputs(
            self._data, [known[name] for name in dict.fromkeys(v.name for v in values)]
        )

    def _apart(self, value: StoredValue, array: Array, rows: int) -> Array:
        """The leading axis of a stored value as two, [L, B], of which the first rows are asked."""
        axes = value.axes.split(",")
        draws = self.samples // self.description.members
        every = self.description.batch or rows
        leading = (draws if "sample" in axes else 1, every if "row" in axes else 1)
        try:
            apart: Array = array.reshape(*leading, *array.shape[1:])
        except ValueError:
            raise FileError(f"{value.name!r} varies with other than it says", self.path) from None
        return apart[:, :rows]

    def _session(self, threads: int | None) -> Runner:
        chosen = self._threads if threads is None else threads
        key = 0 if chosen is None else as_count(chosen, "threads", MOST_THREADS)
        if key not in self._sessions:
            self._sessions[key] = self._open(self._data, key)
        return self._sessions[key]

    def _open(self, data: bytes, threads: int | None) -> Runner:
        try:
            return self._engine.open(data, threads)
        except UserError:
            raise
        except Exception as error:  # engines' errors share no class of their own
            raise load_error(error, self._engine.name, self.path) from None

    def _predicted(
        self,
        session: Runner,
        names: Sequence[str],
        batch: NDArray[np.float32],
        seed: int,
        numbers: Numbers,
    ) -> list[Array]:
        """The outputs of `_run` for these rows; FileError unless they are as the file says."""
        made, whole = self._run(session, names, batch, seed, numbers), list[Array]()
        rows = self.description.batch or len(batch)
        for name, array in zip(names, made, strict=True):
            sampled = name in self.description.sample_names
            leading = (self.samples, rows) if sampled else (rows,)
            if array.dtype != np.float32 or array.shape[: len(leading)] != leading:
                raise FileError(
                    f"gives {name} as {array.dtype} {list(array.shape)}, which is not what it says",
                    self.path,
                    remedy="compile it again",
                )
            whole.append(array[:, : len(batch)] if sampled else array[: len(batch)])
        return whole

    def _run(
        self,
        session: Runner,
        names: Sequence[str],
        batch: NDArray[np.float32],
        seed: int,
        numbers: Numbers,
    ) -> list[Array]:
        """Outputs for a batch, to which a file for more rows adds rows of zeros."""
        if missing := max(0, (self.description.batch or 0) - len(batch)):
            zeros = np.zeros((missing, *self.input_shape), np.float32)
            batch = np.concatenate([batch, zeros])
        given = batch.astype(np.int64) if self.description.takes_ids else batch
        feed: dict[str, Array] = {**self.description.parts(given), SEED: _int64(seed)}
        if isinstance(numbers, int):
            feed[FIRST_ROW] = _int64(numbers)
        else:
            feed[ROW_IDS] = np.concatenate([numbers, np.zeros(missing, np.int64)])
        try:
            return session.run(list(names), feed)
        except UserError:
            raise
        except Exception as error:  # engines' errors share no class of their own
            text = f"{self._engine.name} failed ({one_line(error)})"
            raise UserError(text, place=self.path) from None


def _from(numbers: Numbers, start: int, count: int) -> Numbers:
    """The numbers of the rows from `start` on."""
    return numbers + start if isinstance(numbers, int) else numbers[start : start + count]


def _int64(number: int) -> NDArray[np.int64]:
    """`number` mod 2^64 as its two's complement. A 0-d array: onnxruntime takes no scalar."""
    return np.array(number % 2**64, np.uint64).view(np.int64)
