"""Golden vectors: inputs, and the oracle's samples of them, in a file that outlives a compile."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir import format
from qbnnc.ir.ids import rows_taken_by
from qbnnc.ir.model import Model
from qbnnc.ir.oracle import oracle_samples
from qbnnc.ir.types import Array
from qbnnc.loading.arrays import write_arrays
from qbnnc.loading.artefacts import Artefact
from qbnnc.support.errors import FileError, InputError
from qbnnc.support.numpy_files import array_names, read_member
from qbnnc.support.several_inputs import Arrays
from qbnnc.verification.oracle import Comparison, Difference, bits, check_samples

_INPUT, _SEED, _FIRST_ROW, _DIGEST = "x", "seed", "first_row", "digest"


@dataclass(frozen=True, slots=True)
class Golden:
    """The content of a file of golden vectors.

    `x` [B, *shape] float32 is drawn for with `seed`, and its rows are counted from `first_row`.
    `samples` has arrays [L, B, ...] float32 by the names that a prediction gives them. `digest` is
    that of the model, in 64 hexadecimal digits.
    """

    x: NDArray[np.float32]
    seed: int
    first_row: int
    samples: dict[str, NDArray[np.float32]]
    digest: str

    @property
    def count(self) -> int:
        """L, the number of samples."""
        return len(next(iter(self.samples.values())))


def make_golden(
    model: Model, x: Arrays, *, samples: int | None = None, seed: int = 0, first_row: int = 0
) -> Golden:
    """Draw the oracle's samples of an INTEGER model. InputError if x or `samples` do not fit."""
    batch = rows_taken_by(model.graph).of(x)
    if len(batch) == 0:
        raise InputError("no rows", place="the input", remedy="give one or more")
    check_samples(model, samples)
    count = model.samples if samples is None else samples
    made = oracle_samples(model, batch, samples=count, seed=seed, first_row=first_row)
    named = dict(zip(model.head.sample_names(len(made)), made, strict=True))
    return Golden(batch, seed, first_row, named, format.digest(model))


def write_golden(golden: Golden, path: str | os.PathLike[str]) -> None:
    """Write an .npz with the arrays x, seed, first_row, digest, and the samples by name."""
    arrays: dict[str, Array] = {_INPUT: golden.x, **golden.samples}
    arrays[_SEED] = _number(golden.seed)
    arrays[_FIRST_ROW] = _number(golden.first_row)
    arrays[_DIGEST] = np.frombuffer(golden.digest.encode(), np.uint8)
    write_arrays(path, arrays)


def _number(value: int) -> Array:
    """A number that counts mod 2^64: int64 where it fits, and else uint64."""
    whole = value % 2**64
    return np.array(whole, np.int64 if whole < 2**63 else np.uint64)


def read_golden(path: str) -> Golden:
    """Read what `write_golden` wrote; FileError for anything else."""
    names = array_names(path) or ()
    drawn = [name for name in names if name.startswith("samples")]
    if not drawn or not {_INPUT, _SEED, _FIRST_ROW, _DIGEST} <= set(names):
        raise FileError("no golden vectors", path, "make them with qbnnc golden")
    arrays = {name: read_member(path, name) for name in names}
    samples = {name: np.asarray(arrays[name], np.float32) for name in drawn}
    x = np.asarray(arrays[_INPUT], np.float32)
    shapes = {array.shape[:2] for array in samples.values()}
    scalars = [arrays[name] for name in (_SEED, _FIRST_ROW)]
    whole = all(a.shape == () and np.issubdtype(a.dtype, np.integer) for a in scalars)
    if not whole or len(shapes) != 1 or {len(x)} != {shape[1] for shape in shapes if shape[1:]}:
        raise FileError("damaged golden vectors", path, "make them again with qbnnc golden")
    if not len(x) or not all(len(array) for array in samples.values()):
        raise FileError(
            "golden vectors of no rows or no samples, so that nothing would be compared",
            path,
            "make them again with qbnnc golden",
        )
    digest = bytes(arrays[_DIGEST].astype(np.uint8).tobytes()).decode("ascii", "replace")
    seed, first_row = (int(a) for a in scalars)
    return Golden(x, seed, first_row, samples, digest)


def compare_golden(name: str, artefact: Artefact, golden: Golden) -> Comparison:
    """Compare an artefact's samples with the stored ones, by bit pattern.

    InputError where the artefact takes another input, or gives other outputs.
    """
    found = artefact.predict(
        golden.x, samples=golden.count, seed=golden.seed, first_row=golden.first_row
    )
    result = Comparison(name)
    for output, expected in golden.samples.items():
        given = found.get(output)
        if given is None or given.shape != expected.shape:
            raise InputError(f"{name} gives no {output} {list(expected.shape)}", "golden vectors")
        differs = bits(expected) != bits(given)
        result.values += expected.size
        result.differing += int(differs.sum())
        if result.first is None and differs.any():
            where = tuple(int(i) for i in np.argwhere(differs)[0])
            values = float(expected[where]), float(given[where])
            row = golden.first_row + where[1]
            result.first = Difference(output, golden.seed, where[0], row, *values, None)
    return result
