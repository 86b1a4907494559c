"""Assertions about artefacts for tests of your own, with pytest or without.

from qbnnc.testing import assert_golden

def test_network() -> None:
    assert_golden("model.qbnn", "golden.npz")
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.model import Model
from qbnnc.loading.artefacts import Artefact, QbnnArtefact, open_artefact
from qbnnc.support.errors import FileError, InputError, UserError
from qbnnc.support.inputs import as_integer
from qbnnc.support.text import counted
from qbnnc.verification.golden import Golden, read_golden
from qbnnc.verification.oracle import bits

__all__ = ["assert_golden"]


def assert_golden(
    artefact: str | os.PathLike[str] | Model,
    golden: str | os.PathLike[str],
    *,
    seed: int | None = None,
    threads: int | None = None,
) -> None:
    """Assert that an artefact gives the samples of a file that `qbnnc golden` has written.

    `artefact` is a .qbnn or .onnx file, or a Model. Every sample is compared by bit pattern, at the
    seed and the rows of the file. With `seed` the file must be of that seed. An artefact that was
    compiled again may have another digest, and passes if its bits are the same.

    Raises AssertionError that tells the first sample that differs, and how many do. It is also
    raised for golden vectors of another network or seed. FileError for a file that is missing,
    damaged or without rows. pytest shows these errors at the line of your test.
    """
    __tracebackhide__ = True
    try:
        told = _difference(artefact, os.fspath(golden), seed, threads)
    except UserError as error:
        raise error.with_traceback(None) from None
    if told:
        raise AssertionError(told)


def _difference(
    source: str | os.PathLike[str] | Model, path: str, seed: int | None, threads: int | None
) -> str:
    """The text about what differs; "" if nothing does."""
    stored = read_golden(path)
    name = "the model" if isinstance(source, Model) else os.fspath(source)
    if seed is not None and stored.seed != as_integer(seed, "`seed`"):
        return f"{path} has golden vectors of seed {stored.seed}, and the test asks for seed {seed}"
    artefact = _opened(source, threads)
    if stored.x.shape[1:] != artefact.input_shape:
        return (
            f"{path} has golden vectors of another network: their rows are "
            f"{list(stored.x.shape[1:])}, and {name} takes {list(artefact.input_shape)}"
        )
    try:
        found = artefact.predict(stored.x, stored.count, stored.seed, stored.first_row)
    except FileError:
        raise
    except InputError as error:
        raise error.within(path) from None
    return _compared(name, artefact, found, path, stored)


def _opened(source: str | os.PathLike[str] | Model, threads: int | None) -> Artefact:
    if isinstance(source, Model):
        from qbnnc.runtime import load

        return QbnnArtefact(load(source, threads))
    return open_artefact(source, threads)


def _compared(
    name: str,
    artefact: Artefact,
    found: Mapping[str, NDArray[np.float32]],
    path: str,
    stored: Golden,
) -> str:
    values, differing, rows, first = 0, 0, set[int](), ""
    for output, expected in stored.samples.items():
        given = found.get(output)
        if given is None or given.shape != expected.shape:
            has = "no such output" if given is None else f"them {list(given.shape)}"
            return (
                f"{path} has golden vectors of another network: {output} {list(expected.shape)}, "
                f"and {name} gives {has}"
            )
        places = np.argwhere(bits(expected) != bits(given))
        values, differing = values + expected.size, differing + len(places)
        rows.update(places[:, 1].tolist())
        if not first and len(places):
            where = tuple(int(i) for i in places[0])
            first = _place(output, where, expected[where], given[where])
    if not differing:
        return ""
    return (
        f"{name} is not what {path} says: {differing} of {counted(values, 'value')} differ, in "
        f"{len(rows)} of {counted(len(stored.x), 'row')}\n{first}\n"
        f"drawn with seed {stored.seed} from first_row {stored.first_row}\n"
        f"{_origin(artefact.digest, path, stored.digest)}"
    )


def _place(output: str, where: tuple[int, ...], expected: np.float32, given: np.float32) -> str:
    """The first difference on three lines."""
    sample, row, *element = where
    at = f", element {element if len(element) > 1 else element[0]}" if element else ""
    return (
        f"first: output {output!r}, sample {sample}, row {row}{at}\n"
        f"  golden {_value(expected)}\n"
        f"  found  {_value(given)}"
    )


def _value(number: np.float32) -> str:
    return f"{float(number)!r} (bits 0x{int(number.view(np.uint32)):08x})"


def _origin(ours: str, path: str, theirs: str) -> str:
    """Whether the golden vectors are of the same compile, and what to do."""
    if ours == theirs:
        return f"{path} was made of this very compile, so that no bit may differ"
    return (
        f"{path} was made of another compile (digest {theirs[:16]}, not {ours[:16]}): if the "
        "change is meant, make it again with qbnnc golden"
    )
