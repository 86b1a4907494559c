"""Streams: rows that come in parts have the random numbers of one batch."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from qbnnc.runtime import load
from qbnnc.support.errors import InputError

Fashion = dict[str, NDArray[np.uint8]]


def test_parts_have_the_bits_of_the_whole(artefacts: Path, fashion: Fashion) -> None:
    session = load(artefacts / "lenet.qbnn")
    x = fashion["x"][:7]
    whole = session.predict(x, samples=4, seed=9, first_row=2)
    stream = session.stream(seed=9, samples=4, first_row=2)
    parts = [stream.predict(x[a:b])["samples"] for a, b in ((0, 1), (1, 1), (1, 5), (5, 7))]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole["samples"])
    assert stream.row == 9


def test_equal_rows_differ_in_a_stream_and_not_without(artefacts: Path, fashion: Fashion) -> None:
    session = load(artefacts / "lenet.qbnn")
    row = fashion["x"][:1]
    stream = session.stream()
    first, second = (stream.predict(row)["samples"] for _ in range(2))
    assert (first != second).any()
    np.testing.assert_array_equal(session.predict(row)["samples"], first)


def test_threads_take_rows_of_their_own(artefacts: Path, fashion: Fashion) -> None:
    session = load(artefacts / "lenet.qbnn")
    row = fashion["x"][:1]
    whole = session.predict(np.repeat(row, 40, axis=0), samples=2)["samples"]
    stream = session.stream(samples=2)
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: stream.predict(row)["samples"], range(40)))
    keys = sorted(part.tobytes() for part in made)
    assert keys == sorted(whole[:, i : i + 1].tobytes() for i in range(40))


def test_an_error_counts_no_row(artefacts: Path) -> None:
    session = load(artefacts / "lenet.qbnn")
    stream = session.stream()
    with pytest.raises(InputError, match="NaN"):
        stream.predict(np.full((1, 1, 28, 28), np.nan, np.float32))
    with pytest.raises(InputError):
        stream.predict(np.zeros((1, 3), np.float32))
    assert stream.row == 0
    for wrong in ({"first_row": -1}, {"samples": 0}):
        with pytest.raises(InputError):
            session.stream(**wrong)
