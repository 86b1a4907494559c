"""qbnnc run: predictions with uncertainty from an artefact."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import click
import numpy as np
from numpy.typing import NDArray

from qbnnc.cli.command import Command
from qbnnc.cli.common import echo_json, placed, plain_warnings
from qbnnc.cli.row_ids import read_row_ids, row_ids_option, row_names
from qbnnc.cli.shared_options import (
    drawing_options,
    input_option,
    json_option,
    quiet_option,
    seed_option,
    verbose_option,
)
from qbnnc.loading.arrays import check_array_output, file_of, read_array, write_arrays
from qbnnc.loading.artefacts import open_artefact
from qbnnc.support.files import check_apart
from qbnnc.support.text import WIDTH, fold, table

_ROWS_SHOWN = 5


@click.command(name="run", cls=Command, short_help="Predict with an artefact.")
@click.argument("artefact", metavar="ARTEFACT")
@input_option
@seed_option
@drawing_options
@row_ids_option
@click.option(
    "-o", "--output", metavar="FILE.npz", help="Write all samples and statistics to this file."
)
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
) -> int:
    """Run ARTEFACT (.onnx or .qbnn) on the rows of --input.

    Given the seed, every backend and machine returns the same samples, bit for bit.
    """
    if output is not None:
        check_array_output(output)
        given = [file_of(spec) for spec in (input_, row_ids) if spec is not None]
        check_apart([output], [artefact, *given])
    with plain_warnings():
        opened = open_artefact(artefact)
    with placed({"the input": input_}):
        x = read_array(input_)
        ids = read_row_ids(row_ids, len(x) if x.ndim else 0, first_row)
        prediction = opened.predict(x, samples, seed, first_row, batch_size, row_ids=ids)
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
