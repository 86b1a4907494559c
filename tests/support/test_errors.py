"""Errors are fields: a place, a message and a remedy, which are joined when shown."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from qbnnc.support.errors import CompileError, FileError, InputError, Loc, UserError

ERRORS = [
    (UserError("no rows"), "no rows"),
    (UserError("no rows", place="x"), "x: no rows"),
    (UserError("no rows", remedy="give one"), "no rows; give one"),
    (InputError("no rows", place="x", remedy="give one"), "x: no rows; give one"),
    (FileError("is empty", Path("a.npy")), "a.npy: is empty"),
    (CompileError("is a loop", Loc("fc", "net.py:3"), "unroll it"),
     "fc (net.py:3): is a loop; unroll it"),
]  # fmt: skip


@pytest.mark.parametrize(("error", "shown"), ERRORS)
def test_the_fields_are_joined(error: UserError, shown: str) -> None:
    assert str(error) == shown


@pytest.mark.parametrize("error", [error for error, _ in ERRORS])
def test_an_error_comes_back_from_another_process(error: UserError) -> None:
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is type(error)
    assert (back.message, back.place, back.remedy) == (error.message, error.place, error.remedy)


def test_the_place_alone_is_another() -> None:
    error = InputError("no rows", place="the input", remedy="give one")
    assert str(error.at("x.npy")) == "x.npy: no rows; give one"
    assert str(error.within("net.qbnn")) == "net.qbnn: the input: no rows; give one"
    assert str(UserError("no rows").within("net.qbnn")) == "net.qbnn: no rows"
    assert type(error.at("x.npy")) is InputError
