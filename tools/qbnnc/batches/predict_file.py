"""Predictions of a file of rows, of any number, into a file: in chunks, resumable."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TypedDict, Unpack

from qbnnc.batches.computing import Computer, Field, Request, Work, numerics
from qbnnc.batches.options import RunOptions
from qbnnc.batches.partial import Partial, open_partial, other_run, partial_of
from qbnnc.batches.reading.opening import open_reader
from qbnnc.batches.reading.rows import Reader, chunks
from qbnnc.batches.running import Progress, Run
from qbnnc.batches.spool import Done, kept_rows, open_spool
from qbnnc.batches.workers.cluster import Cluster
from qbnnc.batches.workers.pool import Here, Processes, Workers, opened
from qbnnc.batches.writing.output import Output
from qbnnc.batches.writing.stored import Stored
from qbnnc.loading.arrays import file_of, split_inputs
from qbnnc.loading.artefacts import artefact_of
from qbnnc.support.errors import UserError
from qbnnc.support.files import check_apart, read_bytes

Path_ = str | os.PathLike[str]
_CHUNK_BYTES = 8 << 20  # of samples, or of inputs, in a chunk
_VERSION = 1  # of what is kept; another one is begun again


class Options(TypedDict, total=False):
    """The options of `predict_file`, which documents them."""

    samples: int | None
    seed: int
    first_row: int
    statistics_only: bool
    quantiles: Sequence[float]
    columns: Sequence[str] | None
    header: bool | None
    chunk_size: int | None
    batch_size: int | None
    workers: int
    scheduler: str | None
    wait: float
    restart: bool


@dataclass(frozen=True, slots=True)
class FilePrediction:
    """A finished run: `rows` rows in `output`, whose arrays have these `shapes` by name.

    `kept` of the rows came from a run that was interrupted. `clipped` is the share of the input
    values beyond the range of the calibration; None where an artefact does not tell.
    """

    output: str
    rows: int
    shapes: Mapping[str, tuple[int, ...]]
    kept: int
    clipped: float | None


class Interrupted(KeyboardInterrupt):
    """Ctrl-C; the text says how many rows are kept, and where."""


def predict_file(
    model: Path_,
    input: Path_,
    output: Path_,
    *,
    progress: Progress | None = None,
    **options: Unpack[Options],
) -> FilePrediction:
    """Predict every row of a file, in chunks, into a file; no more than chunks is in memory.

    The output has the bits of one `predict` with all rows. Neither `chunk_size`, `workers` nor an
    interruption changes one. Until it is complete it is called `output`.partial, a folder. The same
    call then goes on where it was stopped.

    Args:
        model: a compiled .qbnn or .onnx file.
        input: "FILE[:KEY]": .npy, which is mapped; .npz, which is read whole; .csv; .parquet; a
            folder .zarr. A row of a table has the network's numbers in C order.
        output: .npz, .zarr, or a folder of .npy files ("predictions/"); .csv or .parquet for
            statistics, with columns such as mean_0, mean_1. What is there is replaced at the end.
        progress: called with a label, rows done and all rows.
        samples: L; None takes the model's own number.
        seed: any whole number.
        first_row: the number of the input's first row; all numbers are below 2^63.
        statistics_only: leave the samples out.
        quantiles: increasing numbers from 0 to 1, over the samples of each row and output. The
            method is numpy's "linear", in float64, rounded to float32. "q0.05" is a name.
        columns: the columns of a table to take, in their order: names, or "1", "3-5" where a CSV
            file has no header.
        header: whether the first line of a CSV file holds names; None where it is clear.
        chunk_size: rows at a time; None chooses.
        batch_size: rows of a chunk at a time, as for `predict`.
        workers: processes, each with one thread. A script needs its `__main__` guard for more
            than one.
        scheduler: the address of a Dask scheduler, tcp://host:8786, whose workers compute.
        wait: seconds to wait for its first worker.
        restart: begin again, whatever another run has left.

    Raises FileError for files that cannot be read or written, InputError for rows that do not fit
    (the text gives row, or line and column), UserError for anything else. Rows before a fault are
    kept. Interrupted for Ctrl-C.
    """
    given = RunOptions(**options)
    request, source, name = given.check(), os.fspath(input), os.fspath(output)
    target = Output.of(name)
    data = read_bytes(model)
    if split_inputs(source) is not None:
        raise UserError(
            "several files, and a file that is predicted in chunks is one",
            place=source,
            remedy="give one table or array, with the inputs one after another in its columns, or "
            "predict .npy and .npz files to an .npz, which is done in memory",
        )
    check_apart([name, *_between(target)], [model, file_of(source)])
    computer = Computer(artefact_of(data, os.fspath(model)), request)
    workers = _workers(given, computer)
    fields = computer.fields()
    target.check_fields(fields)
    reader = open_reader(source, computer.artefact.input_shape, given.columns, given.header)
    work = Work(data, os.fspath(model), request, numerics())
    job = _Job(given, computer, reader, fields, work, target, progress)
    target.recover()
    with open_partial(partial_of(target.real), job.stamp(), restart=given.restart) as partial:
        partial.clear_made()
        with _kept_told(partial, fields):
            run, rows, kept = job.predict(workers, partial)
            target.write(Stored(partial.folder, fields, rows, job.telling()), partial.made)
            target.install(partial.made)
        partial.remove()
    shapes = {field.name: field.shape_of(rows) for field in fields}
    return FilePrediction(name, rows, shapes, kept, run.clipped_share())


@dataclass(frozen=True, slots=True)
class _Job:
    """What one call is about."""

    given: RunOptions
    computer: Computer
    reader: Reader
    fields: tuple[Field, ...]
    work: Work
    target: Output
    progress: Progress | None

    def stamp(self) -> dict[str, object]:
        """All that decides the bits of the output but the rows, by words for people."""
        request: Request = self.work.request
        return {
            "format": _VERSION,
            "model": self.computer.artefact.digest[:16],
            "seed": request.seed % 2**64,
            "number of samples": self.computer.sample_count(),
            "first row": self.given.first_row,
            "statistics only": request.statistics_only,
            "quantiles": list(request.quantiles),
            "rounding of this machine": self.work.numerics,
        }

    def predict(self, workers: Workers, partial: Partial) -> tuple[Run, int, int]:
        """Predict what is not kept; the run, all rows, and those that were kept before."""
        run = Run(self.computer, self.given.first_row, self.reader.count, self.progress)
        state = kept_rows(partial, self.fields)
        first = 0 if state is None else state.rows
        taken = self.computer.artefact.rows_taken
        source = chunks(self.reader, taken.shape, self._chunk_rows(), first, taken.ids)
        done: Done | None = Done(0, sha256())
        if state is not None and (done := run.skip(source, state)) is None:
            raise other_run(partial.folder, f"the first {state.rows} rows of the input differ")
        assert done is not None
        with (
            open_spool(partial, self.fields, done) as spool,
            opened(workers, self.work) as submit,
        ):
            run.predict(source, spool, submit, workers.depth)
            spool.finish()
        return run, spool.done.rows, first

    def telling(self) -> _Telling | None:
        """The progress of writing."""
        return None if self.progress is None else _Telling(self.progress)

    def _chunk_rows(self) -> int:
        if self.given.chunk_size is not None:
            return self.given.chunk_size
        shape = self.computer.artefact.input_shape
        input_bytes = 4 * math.prod(shape)
        return max(1, _CHUNK_BYTES // max(self.computer.sample_bytes(), input_bytes, 1))


@dataclass(frozen=True, slots=True)
class _Telling:
    """Passes the progress of writing on."""

    progress: Progress

    def __call__(self, done: int, total: int) -> None:
        self.progress("writing", done, total)


@contextmanager
def _kept_told(partial: Partial, fields: tuple[Field, ...]) -> Iterator[None]:
    """Errors tell how many rows are kept; where none are, nothing is left behind."""
    try:
        yield
    except UserError as error:
        partial.clear_made()
        if (said := _kept(partial, fields)) is None:
            partial.remove()
            raise
        if error.place == partial.folder:
            raise
        remedy = f"{error.remedy}; {said}" if error.remedy else said
        raise type(error)(error.message, error.place, remedy) from None
    except KeyboardInterrupt:
        partial.clear_made()
        if (said := _kept(partial, fields)) is None:
            partial.remove()
            raise
        raise Interrupted(said) from None


def _kept(partial: Partial, fields: tuple[Field, ...]) -> str | None:
    state = kept_rows(partial, fields)
    if state is None:
        return None
    rows = "1 row is kept" if state.rows == 1 else f"{state.rows} rows are kept"
    return f"{rows} in {partial.folder.name}, and running it again goes on"


def _workers(given: RunOptions, computer: Computer) -> Workers:
    if given.scheduler is not None:
        cluster = Cluster(given.scheduler, given.wait)
        cluster.check_address()
        return cluster
    return Here(computer) if given.workers == 1 else Processes(given.workers)


def _between(target: Output) -> list[Path]:
    """Other places that a run writes to."""
    return [partial_of(target.real), target.replaced()]
