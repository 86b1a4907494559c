"""Several inputs as rows: tuples, dicts and arrays, and what is wrong with them."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from qbnnc.support.errors import InputError
from qbnnc.support.several_inputs import (
    Arrays,
    Entry,
    as_packed_batch,
    as_packed_rows,
    described,
    unpacked,
)

TWO = (Entry("image", (2, 2)), Entry("ages", (), 4))
IMAGE = np.arange(12, dtype=np.float32).reshape(3, 2, 2)
AGES = np.array([30, 40, 50])
ROWS = [[0, 1, 2, 3, 30], [4, 5, 6, 7, 40], [8, 9, 10, 11, 50]]


@pytest.mark.parametrize(
    "x",
    [
        (IMAGE, AGES),
        [IMAGE, AGES],
        {"ages": AGES, "image": IMAGE},
        {"image": IMAGE.tolist(), "ages": AGES.astype(np.uint8)},
        (IMAGE.astype(np.float64), AGES.tolist()),
        np.array(ROWS, np.float32),
        np.array(ROWS),
    ],
)
def test_all_forms_give_the_same_rows(x: Arrays) -> None:
    rows = as_packed_rows(x, TWO)
    assert rows.dtype == np.float32
    assert rows.tolist() == ROWS
    assert rows.flags.c_contiguous
    parts = unpacked(rows, TWO)
    assert parts["image"].tolist() == IMAGE.tolist()
    assert parts["ages"].tolist() == AGES.tolist()


def test_containers_within_containers_have_joined_names() -> None:
    nested = (Entry("image", (2, 2)), Entry("person.age", (), 4))
    given: tuple[Any, ...] = {"image": IMAGE, "person": {"age": AGES}}, (IMAGE, {"age": AGES})
    for x in given:
        assert as_packed_rows(x, nested).tolist() == ROWS


def test_no_rows_are_rows() -> None:
    assert as_packed_rows((IMAGE[:0], AGES[:0]), TWO).shape == (0, 5)


@pytest.mark.parametrize(
    ("x", "told"),
    [
        ((IMAGE,), "the input: 1 arrays, and the network takes 2: image [batch, 2, 2] and ages "),
        ((IMAGE, AGES, AGES), "the input: 3 arrays, and the network takes 2: "),
        ({"image": IMAGE}, "the input: 'ages' is missing; the network takes image [batch, 2, 2]"),
        ({"image": IMAGE, "age": AGES}, "the input: no input is called 'age'; the network takes "),
        ((AGES, IMAGE), "the input 'image': the shape is [3], and the network takes [batch, 2, 2]"),
        ((IMAGE, AGES[:2]), "the input 'ages': 2 rows, and 'image' has 3; give each input as many"),
        (IMAGE, "the input: one array [3, 2, 2], and the network takes image [batch, 2, 2] and "),
        ((IMAGE, AGES + 1j), "the input 'ages': the element type is complex128, and the network"),
        ((IMAGE, np.array(["a"] * 3)), "the input 'ages': the element type is <U1, and the "),
        ((IMAGE, [[1], [2, 3], [4]]), "the input 'ages': not an array of numbers ("),
        ((IMAGE, AGES + 2**24), "the input 'ages': holds 16777266, and whole numbers are exact "),
        ((IMAGE, AGES - 2**30), "the input 'ages': holds 1073741794, and whole numbers are exact"),
        ((IMAGE, np.array([1, np.nan, 2])), "the input 'ages': NaN in row 1; remove or fill in"),
        ((np.where(IMAGE == 5, np.nan, IMAGE), AGES), "the input 'image': NaN in row 1; "),
    ],
)
def test_what_is_wrong_is_told(x: Arrays, told: str) -> None:
    with pytest.raises(InputError, match=re.escape(told)):
        as_packed_batch(x, TWO)


def test_numbers_up_to_2_24_are_exact() -> None:
    rows = as_packed_rows((IMAGE, np.array([2**24, -(2**24), 2**24 - 1])), TWO)
    assert rows[:, 4].tolist() == [2.0**24, -(2.0**24), 2.0**24 - 1]


def test_one_input_is_an_array_or_a_dict_with_its_name() -> None:
    one = (Entry("x", (2, 2)),)
    for x in (IMAGE, IMAGE.tolist(), {"x": IMAGE}):
        assert as_packed_batch(x, one).tolist() == IMAGE.tolist()
    with pytest.raises(InputError, match="no input is called 'y'; the network takes x"):
        as_packed_batch({"y": IMAGE}, one)


def test_descriptions() -> None:
    assert described(TWO[:1]) == "image [batch, 2, 2]"
    assert described((*TWO, Entry("c", (1,), 5))) == (
        "image [batch, 2, 2], ages [batch] and c [batch, 1]"
    )
