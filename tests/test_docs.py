"""The documents' examples are run, and the modules' doctests too."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = (
    "qbnnc.cli.common",
    "qbnnc.cli.compile",
    "qbnnc.ir.arithmetic",
    "qbnnc.ir.rng",
    "qbnnc.passes.options",
)


def test_semantics() -> None:
    result = doctest.testfile(str(ROOT / "docs" / "semantics.md"), module_relative=False)
    assert result.attempted >= 15
    assert result.failed == 0


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0
    assert result.failed == 0
