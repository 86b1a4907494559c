"""The numbers of rows: counted from one on, or given row by row.

Programs count rows. A batch whose ids do not count up is predicted in parts that do, and the
samples are put where their rows were.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from qbnnc.ir.check import random_nodes
from qbnnc.ir.graph import Graph
from qbnnc.ir.types import Axis
from qbnnc.runtime.jobs import Prepared, Size, signed
from qbnnc.runtime.outputs import Float32
from qbnnc.support.errors import InputError
from qbnnc.support.inputs import as_first_row, as_integer, nan_error
from qbnnc.support.row_ids import Run, as_row_ids, runs

Predict = Callable[[Prepared, Float32, Float32, tuple[int, int]], None]
"""Run a prediction: prepared, batch, flat output, the seed and the first row, mod 2^64."""


@dataclass(frozen=True, slots=True)
class Numbering:
    """The seed, and the runs of rows that count up; `parts` is empty where all rows do.

    `first_row` is then the number of the first.
    """

    seed: int
    first_row: int
    parts: Sequence[Run] = ()

    @property
    def counted(self) -> tuple[int, int]:
        """Both numbers mod 2^64, as the kernels take them."""
        return self.seed, self.first_row


def draws_by_row(graph: Graph) -> bool:
    """Tell whether rows have random numbers of their own, which they do not share."""
    return any(Axis.ROW in node.output.type.axes for node, _ in random_nodes(graph))


def numbering(
    seed: int, first_row: int, row_ids: ArrayLike | None, rows: int, *, by_row: bool
) -> Numbering:
    """Check the numbers of a prediction of `rows` rows; InputError if one does not fit.

    Unless rows draw `by_row`, their numbers have no effect.
    """
    if row_ids is None:
        return Numbering(*_numbers(seed, first_row))
    ids, number = as_row_ids(row_ids, rows, first_row), signed(as_integer(seed, "seed"))
    found = runs(ids) if by_row else []
    if len(found) > 1:
        return Numbering(number, 0, found)
    return Numbering(number, int(ids[0]) if rows else 0)


def fill(
    run: Predict,
    prepare: Callable[[Size], Prepared],
    prepared: Prepared,
    batch: Float32,
    out: Float32,
    numbers: Numbering,
    chunk: int | None = None,
) -> None:
    """Run a prediction into `out`, which is flat; rows that do not count up are run in parts.

    `chunk` are the rows at a time. InputError for NaN in the batch, and if `out` shares memory
    with it. Nothing is written then.
    """
    if not numbers.parts:
        run(prepared, batch, out, numbers.counted)
        return
    if np.may_share_memory(out, batch):
        raise InputError("it shares memory with the input", "out", "give an array of its own")
    count = prepared.outputs.samples
    _run_apart(
        run,
        lambda rows: prepare(Size(rows, count, chunk)),
        batch,
        prepared.outputs.split(out),
        numbers,
    )


def _run_apart(
    run: Predict,
    prepare: Callable[[int], Prepared],
    batch: Float32,
    outputs: tuple[Float32, ...],
    numbers: Numbering,
) -> None:
    """Predict each run of rows by itself, and put its samples into `outputs` [L, B, *shape].

    `prepare` makes predictions of so many rows ready. InputError for NaN in the batch, before
    anything is written.
    """
    if batch.size and np.isnan(np.maximum.reduce(batch, axis=None)):
        raise nan_error(batch)
    for places, first in numbers.parts:
        prepared = prepare(len(places))
        out = prepared.outputs.allocate()
        run(prepared, batch[places], out, (numbers.seed, first))
        for whole, part in zip(outputs, prepared.outputs.split(out), strict=True):
            whole[:, places] = part


def no_memory(rows: int, samples: int) -> InputError:
    """Make the error of a prediction that does not fit in memory."""
    return InputError(
        f"no memory for {rows} rows and {samples} samples at once",
        remedy="take fewer samples or rows, or fewer rows at a time (batch_size)",
    )


def _numbers(seed: int, first_row: int) -> tuple[int, int]:
    """Return both numbers mod 2^64, as the kernels take them."""
    if type(seed) is int and type(first_row) is int and 0 <= seed < 2**63 > first_row >= 0:
        return seed, first_row
    return signed(as_integer(seed, "seed")), signed(as_first_row(first_row))
