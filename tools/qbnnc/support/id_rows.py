"""Rows of inputs that may hold ids: their shapes and vocabularies, and the check of ids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from qbnnc.support import limits
from qbnnc.support.errors import InputError
from qbnnc.support.several_inputs import (
    Arrays,
    Entries,
    as_packed_batch,
    as_packed_rows,
    unpacked,
)


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """The rows that a network takes: their shape, and the vocabularies of their ids.

    `entries` are the inputs by name, which stand one after another in a row.
    """

    shape: tuple[int, ...]
    ids: NDArray[np.int64] | None
    entries: Entries

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the inputs."""
        return tuple(entry.name for entry in self.entries)

    def read(self, x: Arrays, name: str = "the input") -> NDArray[np.float32]:
        """x, or the tuple or dict of several inputs, as `as_rows` gives it."""
        return as_packed_rows(x, self.entries, name)

    def of(self, x: Arrays, name: str = "the input") -> NDArray[np.float32]:
        """x as `as_batch` gives it; InputError for what is no id too."""
        batch = as_packed_batch(x, self.entries, name)
        self.check(batch, name)
        return batch

    def check(self, batch: NDArray[np.float32], name: str = "the input") -> None:
        """InputError for what is no id, which names one of several inputs."""
        if self.ids is None or len(self.entries) == 1:
            check_ids(batch, self.ids, name)
            return
        for entry in self.entries:
            known = self.ids[entry.start : entry.stop].reshape(entry.shape)
            check_ids(entry.of(batch), known, f"{name} {entry.name!r}")

    def example(self, x: Arrays, batch: NDArray[np.float32]) -> Arrays:
        """x as a module of several inputs takes it: as it is given, or the batch by names."""
        if len(self.entries) == 1 or not isinstance(x, np.ndarray):
            return x if isinstance(x, Mapping | tuple | list) else batch
        parts = unpacked(batch, self.entries)
        if self.ids is None:
            return parts
        whole = {e.name for e in self.entries if (self.ids[e.start : e.stop] > 0).all()}
        return {n: p.astype(np.int64) if n in whole else p for n, p in parts.items()}

    def drawn(self, count: int) -> NDArray[np.float32]:
        """Noise [count, *shape], with ids that are all as likely; the same each time."""
        rng = np.random.default_rng(0)
        numbers = rng.standard_normal((count, *self.shape)).astype(np.float32)
        if self.ids is None:
            return numbers
        ids = rng.integers(0, np.maximum(self.ids, 1), numbers.shape)
        return np.where(self.ids > 0, ids.astype(np.float32), numbers)


def check_ids(
    batch: NDArray[np.float32],
    known: NDArray[np.int64] | None,
    name: str = "the input",
    first_row: int = 0,
) -> None:
    """InputError unless all ids of a batch [B, *shape] are whole and in their vocabularies.

    `known` has the vocabulary of each number, 0 for what is no id (`qbnnc.ir.ids`); None checks
    nothing. Rows count from `first_row` on.
    """
    if known is None or not (bad := _no_ids(batch, known)).any():
        return
    row, *place = (int(i) for i in np.argwhere(bad)[0])
    value, most = batch[(row, *place)], int(known[tuple(place)]) - 1
    where = f", position {', '.join(map(str, place))}" if prod(known.shape) > 1 else ""
    what = f"the id {value:.9g}" if value == np.floor(value) else f"{value:.9g}, which is no id,"
    raise InputError(
        f"{what} is in row {first_row + row}{where}, and the ids there are 0 to {most}",
        place=name,
        remedy="number the tokens as in training, and give unknown ones an id of their own",
    )


def rows_of_ids(batch: NDArray[np.float32], known: NDArray[np.int64] | None) -> int:
    """The number of rows before the first one that `check_ids` refuses."""
    if known is None:
        return len(batch)
    bad = _no_ids(batch, known).reshape(len(batch), -1).any(axis=1)
    return int(bad.argmax()) if bad.any() else len(batch)


def _no_ids(batch: NDArray[np.float32], known: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which numbers of a batch should be ids, and are none of their vocabulary."""
    ids: NDArray[np.bool_] = (batch >= 0) & (batch < known) & (batch == np.floor(batch))
    return ~ids & (known > 0)


def vocabulary_text(known: NDArray[np.int64]) -> str:
    """Vocabularies as text, in row-major order: "1000x12,7" is 1000 twelve times, then 7."""
    flat = known.reshape(-1)
    starts = np.flatnonzero(np.diff(flat, prepend=-1))
    counts = np.diff(starts, append=len(flat))
    runs = zip(flat[starts].tolist(), counts.tolist(), strict=True)
    return ",".join(f"{number}x{count}" if count > 1 else f"{number}" for number, count in runs)


def vocabularies_from(text: str, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """The inverse of `vocabulary_text`; ValueError for a text that no such array has."""
    numbers, counts = list[int](), list[int]()
    for run in text.split(","):
        number, _, count = run.partition("x")
        numbers.append(int(number))
        counts.append(int(count or 1))
    for each in numbers:
        limits.VOCABULARY.check(max(each, 1))
    if min(counts) < 1 or min(numbers) < 0 or sum(counts) != prod(shape):
        whole = limits.shown(sum(counts))
        raise ValueError(f"vocabularies of {whole} numbers for rows of {list(shape)}")
    return np.repeat(np.array(numbers, np.int64), counts).reshape(shape)
