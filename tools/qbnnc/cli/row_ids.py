"""--row-ids: the numbers of rows from a file."""

from __future__ import annotations

import click
import numpy as np
from numpy.typing import NDArray

from qbnnc.cli.common import placed
from qbnnc.loading.arrays import read_array
from qbnnc.support.row_ids import as_row_ids

row_ids_option = click.option(
    "--row-ids",
    metavar="FILE[:KEY]",
    help="Number the rows by these whole numbers, [batch], in place of --first-row. An .onnx "
    "needs to be compiled with --row-ids.",
)
"""--row-ids FILE[:KEY]."""


def read_row_ids(spec: str | None, rows: int, first_row: int) -> NDArray[np.int64] | None:
    """The ids in a file, one for each row; None without a file. InputError if they do not fit."""
    if spec is None:
        return None
    with placed({"row_ids": f"--row-ids {spec}"}):
        return as_row_ids(read_array(spec), rows, first_row)


def row_names(row_ids: NDArray[np.int64] | None, first_row: int, count: int) -> list[str]:
    """The numbers of the first `count` rows."""
    if row_ids is not None:
        return [str(number) for number in row_ids[:count]]
    return [str(first_row + row) for row in range(count)]
