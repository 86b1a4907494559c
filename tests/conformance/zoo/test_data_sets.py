"""The data of the zoo: shapes, splits without common rows, and what its rows hold."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from tools.zoo import data_sets
from tools.zoo.cart_pole import cart_pole
from tools.zoo.data_sets import HERE, HISTORY, HORIZON, DataSet

SHAPES: dict[DataSet, tuple[tuple[int, ...], tuple[int, ...]]] = {
    data_sets.digits: ((1, 16, 16), ()),
    data_sets.reconstruction: ((64,), (64,)),
    data_sets.points: ((3, 32), ()),
    data_sets.scenes: ((1, 16, 16), (16, 16)),
    data_sets.distances: ((1, 16, 16), (1, 16, 16)),
    data_sets.vowels: ((12, 29), ()),
    data_sets.vowels_by_step: ((29, 12), ()),
    data_sets.sunspots: ((HISTORY,), (HORIZON,)),
    data_sets.languages: ((data_sets.CHARACTERS,), ()),
    cart_pole: ((5,), (4,)),
    data_sets.diabetes: ((10,), (1,)),
    data_sets.standardised_digits: ((64,), ()),
}


@pytest.mark.parametrize("data_set", SHAPES, ids=lambda data_set: data_set.__name__)
def test_rows(data_set: DataSet) -> None:
    data, (shape, target) = data_set(), SHAPES[data_set]
    for x, y in ((data.x_train, data.y_train), (data.x_test, data.y_test)):
        assert x.shape == (len(y), *shape)
        assert y.shape[1:] == target
        assert x.dtype == (np.int64 if data_set is data_sets.languages else np.float32)
        assert y.dtype in (np.int64, np.float32)
        assert np.isfinite(x).all()
        assert len(x) > 80
    known = {row.tobytes() for row in data.x_train}
    assert not any(row.tobytes() in known for row in data.x_test)


def test_files_are_those_of_the_provenance() -> None:
    told = (HERE / "README.md").read_text(encoding="utf-8")
    for name in ("declaration.tsv", "vowels.npz", "sunspots.npz"):
        digest = hashlib.sha256((HERE / name).read_bytes()).hexdigest()
        assert f"| `{name}` | `{digest}` |" in told


def test_text_is_read_back() -> None:
    data = data_sets.languages()
    english = data.x_train[data.y_train == 2][0].astype(int)
    letters = data_sets.ALPHABET + "?"
    assert "".join(letters[i] for i in english) == "all human beings are born free and equal"
    assert {*data.y_train} == {*data.y_test} == {*range(8)}


def test_sunspots_are_the_months_of_1749() -> None:
    data = data_sets.sunspots()
    first = (data.x_train[0, :3] * 3.5 + 6) ** 2
    np.testing.assert_allclose(first, [58.0, 62.6, 70.0], rtol=1e-5)
    np.testing.assert_array_equal(data.x_train[6, :36], data.x_train[0, 12:])
    np.testing.assert_array_equal(data.y_train[0], data.x_train[6, 36:])


def test_distances_are_those_of_chess_kings() -> None:
    data = data_sets.distances()
    image, found = data.x_test[0, 0], data.y_test[0, 0] * 4
    ink = np.argwhere(image > 0.25)
    for row, column in ((0, 0), (7, 9), (15, 4)):
        apart = np.abs(ink - [row, column]).max(axis=1).min()
        assert found[row, column] == apart


def test_scenes_name_ink_by_its_digit() -> None:
    data = data_sets.scenes()
    assert {*np.unique(data.y_test)} == {0, 1, 2}
    assert ((data.y_test == 0) == (data.x_test[:, 0] <= 0.25)).all()
    for tile in data.y_test[:, :8, :8].reshape(-1, 64):
        assert len({*tile} - {0}) == 1


def test_a_pole_that_hangs_over_falls_further() -> None:
    data = cart_pole()
    x, y = (
        np.concatenate(parts)
        for parts in ((data.x_train, data.x_test), (data.y_train, data.y_test))
    )
    calm = np.abs(x[:, [3, 4]]).max(axis=1) < 0.25  # slow, and nearly no force
    angle, faster = x[calm, 2], y[calm, 3]
    assert calm.sum() > 20
    assert np.corrcoef(angle, faster)[0, 1] > 0.9
