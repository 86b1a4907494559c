"""Bodies of POST /predict, checked by hand: what is wrong is told in one plain line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qbnnc.support.errors import InputError
from qbnnc.support.inputs import as_batch, as_integer
from qbnnc.support.row_ids import as_row_ids

_KEYS = {"rows", "ids", "seed", "samples"}


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """A request: x [B, *shape] float32, ids [B] int64, and whether samples are wanted too."""

    x: NDArray[np.float32]
    ids: NDArray[np.int64]
    seed: int
    samples: bool


def parse(body: bytes, shape: tuple[int, ...], *, most_rows: int, default_seed: int) -> Asked:
    """The request in a JSON body {rows, ids?, seed?, samples?}; InputError if it does not fit.

    Rows without ids are numbered 0, 1 and so on: the same request always has the same answer.
    """
    given = _object(body)
    if "rows" not in given:
        raise InputError("missing", "rows", 'send {"rows": [[...], ...]}')
    x = _rows(given["rows"], shape, most_rows)
    ids = given.get("ids", list(range(len(x))))
    if not isinstance(ids, list):
        raise InputError("not a list", "ids", "send one whole number for each row")
    seed, samples = given.get("seed", default_seed), given.get("samples", False)
    if not isinstance(samples, bool):
        raise InputError("not true or false", "samples", "leave it out for statistics alone")
    return Asked(x, as_row_ids(ids, len(x)), as_integer(seed, "seed"), samples)


def _object(body: bytes) -> Mapping[str, object]:
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        raise InputError("not JSON", "the body", 'send {"rows": [[...], ...]}') from None
    if not isinstance(given, dict):
        raise InputError("not a JSON object", "the body", 'send {"rows": [[...], ...]}')
    if unknown := sorted(given.keys() - _KEYS):
        names = ", ".join(sorted(_KEYS))
        raise InputError(f"unknown key {unknown[0][:40]!r}", "the body", f"the keys are {names}")
    return given


def _rows(rows: object, shape: tuple[int, ...], most: int) -> NDArray[np.float32]:
    if not isinstance(rows, list) or not rows:
        raise InputError("not a list of at least one row", "rows", "send [[...], ...]")
    if len(rows) > most:
        raise InputError(f"{len(rows)}", "rows", f"send {most} or fewer in a request")
    x = as_batch(rows, shape, "rows")
    if not np.isfinite(x).all():
        raise InputError("not all numbers are finite in float32", "rows", "send finite numbers")
    return x
