"""qbnnc run: predictions with uncertainty from an artefact."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

import click
import numpy as np
from numpy.typing import NDArray

from qbnnc.batches.reading.opening import suffix_of
from qbnnc.cli.batch_options import BatchOptions, batch_options
from qbnnc.cli.command import Command
from qbnnc.cli.common import echo_json, placed, plain_warnings
from qbnnc.cli.row_ids import read_row_ids, row_ids_option, row_names
from qbnnc.cli.run_stream import is_large, is_stream, read_table, run_stream, warn_of_clipped
from qbnnc.cli.shared_options import (
    drawing_options,
    input_option,
    json_option,
    quiet_option,
    seed_option,
    verbose_option,
)
from qbnnc.loading.arrays import check_array_output, files_among, read_arrays, write_arrays
from qbnnc.loading.artefacts import Artefact, open_artefact
from qbnnc.support.errors import UserError
from qbnnc.support.files import check_apart
from qbnnc.support.text import WIDTH, fold, table

_ROWS_SHOWN = 5
_TABLES = (".csv", ".parquet", ".zarr")


@click.command(name="run", cls=Command, short_help="Predict with an artefact.")
@click.argument("artefact", metavar="ARTEFACT")
@input_option
@seed_option
@drawing_options
@row_ids_option
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Write samples and statistics to FILE.npz, FILE.zarr or a FOLDER/ of .npy files; "
    "statistics to FILE.csv or FILE.parquet.",
)
@batch_options
@json_option
@quiet_option
@verbose_option
def command(
    artefact: str,
    input_: str,
    seed: int,
    samples: int | None,
    first_row: int,
    batch_size: int | None,
    row_ids: str | None,
    output: str | None,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    batch: BatchOptions,
) -> int:
    """Run ARTEFACT (.onnx or .qbnn) on the rows of --input.

    Given the seed, every backend and machine returns the same samples, bit for bit. --input may
    be a .csv, .parquet or .zarr too. Large files go through in chunks, and an interrupted run goes
    on.
    """
    stream = partial(
        run_stream,
        artefact,
        input_,
        batch=batch,
        samples=samples,
        seed=seed,
        first_row=first_row,
        batch_size=batch_size,
        as_json=as_json,
        quiet=quiet,
    )
    if is_stream(input_, output, batch):
        assert output is not None
        if row_ids is not None:
            raise UserError(
                "is not for files that are predicted in chunks",
                place="`row_ids`",
                remedy="give an .npy or .npz input and an .npz output",
            )
        return stream(output)
    if output is not None:
        check_array_output(output)
        check_apart([output], [artefact, *files_among(input_, row_ids)])
    with plain_warnings():
        opened = open_artefact(artefact)
    if output is not None and row_ids is None and is_large(opened, input_, samples):
        return stream(output)
    with placed({"the input": input_}):
        rows = _read(opened, input_, batch)
        ids = read_row_ids(row_ids, len(rows), first_row)
        prediction = opened.predict(rows, samples, seed, first_row, batch_size, row_ids=ids)
        warn_of_clipped(opened, rows)
    if output is not None:
        write_arrays(output, dict(prediction))
    if as_json:
        kept = {k: v.tolist() for k, v in prediction.items() if not k.startswith("samples")}
        echo_json(kept)
    elif not quiet:
        click.echo(summary(prediction, first_row, ids))
        if output is not None:
            click.echo(fold(f"wrote {output}: {', '.join(prediction)}"))
    return 0


def _read(opened: Artefact, input_: str, batch: BatchOptions) -> NDArray[np.float32]:
    """The rows of an array file, or of a table, in memory; several inputs as one row."""
    if suffix_of(input_) in _TABLES or batch.given():
        return read_table(opened, input_, batch)
    return opened.rows_taken.read(read_arrays(input_, opened.rows_taken.names))


def summary(
    prediction: Mapping[str, NDArray[np.float32]],
    first_row: int,
    row_ids: NDArray[np.int64] | None = None,
) -> str:
    """The statistics of the first rows, one line each."""
    names = [name for name in prediction if not name.startswith("samples")]
    rows = len(prediction[names[0]])
    shown = range(min(rows, _ROWS_SHOWN))
    columns = [
        [_title(name), *(_cell(name, prediction[name][row]) for row in shown)] for name in names
    ]
    numbers = ["row", *row_names(row_ids, first_row, len(shown))]
    tables = "\n\n".join(_tables(numbers, columns))
    shapes = ", ".join(f"{name} {list(prediction[name].shape)}" for name in prediction)
    more = f"\n... {rows} rows in all" if rows > _ROWS_SHOWN else ""
    return f"{tables}{more}\n{fold(shapes)}"


def _tables(numbers: list[str], columns: list[list[str]]) -> Iterator[str]:
    """Tables of 80 columns of text at most; each begins with the rows."""
    while columns:
        count = len(columns)
        while count > 1 and _width(numbers, columns[:count]) > WIDTH:
            count -= 1
        header, *lines = zip(numbers, *columns[:count], strict=True)
        yield table(header, lines)
        columns = columns[count:]


def _width(numbers: list[str], columns: list[list[str]]) -> int:
    return sum(2 + max(map(len, column)) for column in columns) + max(map(len, numbers))


def _title(name: str) -> str:
    return {"probabilities": "class: p", "mutual_information": "mutual inf."}.get(name, name)


def _cell(name: str, value: NDArray[np.float32]) -> str:
    """A number; of a vector of probabilities the greatest, of any other the first ones."""
    flat = np.ravel(value)
    if name == "probabilities" and value.ndim == 1:
        return f"{int(flat.argmax())}: {float(flat.max()):.3f}"
    shown = " ".join(f"{float(v):.4g}" for v in flat[:3])
    return f"{shown} ..." if flat.size > 3 else shown
