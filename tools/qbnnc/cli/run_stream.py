"""`qbnnc run` on tables and large files: the rows are never in memory all at once."""

from __future__ import annotations

from collections.abc import Callable

import click
import numpy as np
from numpy.typing import NDArray

from qbnnc.batches.predict_file import FilePrediction, Interrupted, predict_file
from qbnnc.batches.reading.opening import open_reader, suffix_of
from qbnnc.batches.reading.rows import chunks
from qbnnc.cli.batch_options import BatchOptions
from qbnnc.cli.common import INTERRUPTED, echo_json, plain_warnings, say
from qbnnc.cli.progress import ProgressLine
from qbnnc.loading.arrays import split_spec
from qbnnc.loading.artefacts import Artefact
from qbnnc.loading.clipping import MUCH_CLIPPED, clipped_share
from qbnnc.support.errors import InputError, UserError
from qbnnc.support.inputs import MOST_PREDICTED
from qbnnc.support.numpy_files import MOST_STORED, map_npy
from qbnnc.support.text import counted, fold

_IN_MEMORY = 1 << 30  # bytes of a table that is read without an output
_ARRAYS = (".npy", ".npz")


def is_stream(input_: str, output: str | None, batch: BatchOptions) -> bool:
    """Whether a run is one of tables or large files; UserError where it lacks an output."""
    if output is None:
        if given := [name for name in batch.given() if name not in ("columns", "header")]:
            raise UserError("needs an output", place=f"`{given[0]}`", remedy="give one with -o")
        return False
    written_whole = output.lower().endswith(".npz") and suffix_of(input_) in _ARRAYS
    return bool(batch.given()) or not written_whole


def is_large(artefact: Artefact, input_: str, samples: int | None) -> bool:
    """Whether an .npy file is larger than what one prediction takes."""
    path, key = split_spec(input_)
    if path.suffix.lower() != ".npy" or key is not None or not path.is_file():
        return False
    array = map_npy(path)
    if array.ndim == 0 or array.shape[1:] != artefact.input_shape:
        return False
    empty = artefact.predict(np.empty((0, *artefact.input_shape), np.float32), samples)
    one = sum(
        4 * len(made) * int(np.prod(made.shape[2:], dtype=np.int64))
        for name, made in empty.items()
        if name.startswith("samples")
    )
    return array.nbytes > MOST_STORED or len(array) * one > MOST_PREDICTED


def read_table(artefact: Artefact, input_: str, batch: BatchOptions) -> NDArray[np.float32]:
    """The rows of a table, or of a Zarr array, whole; InputError if they are many."""
    shape = artefact.input_shape
    reader = open_reader(input_, shape, batch.names(), batch.header)
    found, total = [np.empty((0, *shape), np.float32)], 0
    for chunk in chunks(reader, shape, 1 << 16, ids=artefact.rows_taken.ids):
        found.append(chunk.rows)
        total += chunk.rows.nbytes
        if total > _IN_MEMORY:
            raise InputError(
                f"more than {_IN_MEMORY} bytes", input_, "give an output with -o, such as p.zarr"
            )
    return np.concatenate(found)


def warn_of_clipped(artefact: Artefact, rows: NDArray[np.float32]) -> None:
    """Warn where much of the input is beyond the range of the calibration."""
    if artefact.holds_model:
        _warn(clipped_share(artefact.model, rows))


def run_stream(
    artefact: str,
    input_: str,
    output: str,
    batch: BatchOptions,
    *,
    samples: int | None,
    seed: int,
    first_row: int,
    batch_size: int | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Predict a file into a file; the exit code."""
    with ProgressLine(quiet or as_json) as line, plain_warnings():
        try:
            made = predict_file(
                artefact,
                input_,
                output,
                progress=_drawn(line),
                samples=samples,
                seed=seed,
                first_row=first_row,
                batch_size=batch_size,
                statistics_only=batch.statistics_only,
                quantiles=batch.numbers(),
                columns=batch.names(),
                header=batch.header,
                chunk_size=batch.chunk_size,
                workers=1 if batch.workers is None else batch.workers,
                scheduler=batch.scheduler,
                wait=60.0 if batch.wait is None else batch.wait,
                restart=batch.restart,
            )
        except Interrupted as error:
            line.clear()
            say(f"interrupted; {error}")
            return INTERRUPTED
    _warn(made.clipped or 0.0)
    _tell(made, as_json=as_json, quiet=quiet)
    return 0


def _drawn(line: ProgressLine) -> Callable[[str, int, int], None]:
    def show(label: str, done: int, total: int) -> None:
        line.show(label, done, total, "rows")

    return show


def _tell(made: FilePrediction, *, as_json: bool, quiet: bool) -> None:
    if as_json:
        echo_json(
            {
                "output": made.output,
                "rows": made.rows,
                "kept": made.kept,
                "clipped": made.clipped,
                "arrays": {name: list(shape) for name, shape in made.shapes.items()},
            }
        )
    elif not quiet:
        kept = f", of which {made.kept} were kept" if made.kept else ""
        shapes = ", ".join(f"{name} {list(shape)}" for name, shape in made.shapes.items())
        click.echo(fold(f"wrote {made.output}: {counted(made.rows, 'row')}{kept}"))
        click.echo(fold(shapes))


def _warn(clipped: float) -> None:
    if clipped > MUCH_CLIPPED:
        say(
            f"Warning: {clipped:.0%} of the input values lie outside the range of the "
            "calibration, and saturate; are they scaled as in training?"
        )
