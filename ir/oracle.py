"""The definition of a prediction: every backend is held against it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qbnnc.ir.evaluate import broadcast_output, evaluate
from qbnnc.ir.graph import Value
from qbnnc.ir.ids import vocabularies
from qbnnc.ir.model import Model
from qbnnc.ir.rng import Draw
from qbnnc.ir.types import Array
from qbnnc.support import limits
from qbnnc.support.id_rows import check_ids
from qbnnc.support.inputs import as_count, as_first_row, as_integer, check_asked
from qbnnc.support.row_ids import as_row_ids

MemberObserver = Callable[[int, Value, Array], None]


def oracle_samples(
    model: Model,
    x: NDArray[np.float32],
    *,
    samples: int,
    seed: int = 0,
    first_row: int = 0,
    row_ids: ArrayLike | None = None,
    observe: MemberObserver | None = None,
) -> tuple[NDArray[np.float32], ...]:
    """The samples of each output, [L, B, *shape], for a batch x [B, *shape].

    Rows are numbered from `first_row` on, or by `row_ids` [B]. `observe` sees (member, value,
    array).
    InputError for numbers that no backend takes (`ir.counts`).
    """
    members = len(model.members)
    check_ids(x, vocabularies(model.graph))
    count = as_count(samples, "samples", limits.DRAWS.most * members)
    check_asked(len(x), count, members, sum(v.type.size for v in model.graph.outputs))
    rows, draws = _rows(len(x), first_row, row_ids), model.draws_for(count)
    made = [np.empty((samples, len(x), *v.type.shape), np.float32) for v in model.graph.outputs]
    for number, member in enumerate(model.members):
        draw = Draw.of(as_integer(seed, "seed"), model.sample_numbers(number, draws), rows)
        watch = None if observe is None else _bind(observe, number)
        for whole, part in zip(made, evaluate(member, x, draw, watch), strict=True):
            whole[number :: len(model.members)] = broadcast_output(part, len(draws), len(x))
    return tuple(made)


def oracle_prediction(
    model: Model,
    x: NDArray[np.float32],
    *,
    samples: int,
    seed: int = 0,
    first_row: int = 0,
    row_ids: ArrayLike | None = None,
) -> dict[str, NDArray[np.float32]]:
    """Samples and statistics by the names of the head."""
    made = oracle_samples(
        model, x, samples=samples, seed=seed, first_row=first_row, row_ids=row_ids
    )
    names = model.head.sample_names(len(made))
    return dict(zip(names, made, strict=True)) | model.head.evaluate(made)


def _rows(count: int, first_row: int, row_ids: ArrayLike | None) -> Sequence[int]:
    """The numbers of the rows."""
    if row_ids is None:
        first = as_first_row(first_row)
        return range(first, first + count)
    numbers: list[int] = as_row_ids(row_ids, count, first_row).tolist()
    return numbers


def _bind(observe: MemberObserver, member: int) -> Callable[[Value, Array], None]:
    return lambda value, array: observe(member, value, array)
