"""The documents' examples are run, and the modules' doctests too."""

from __future__ import annotations

import doctest
import importlib
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"```(python)?\n(.*?)```", re.DOTALL)
MODULES = (
    "qbnnc.support.inputs",
    "qbnnc.cli.common",
    "qbnnc.cli.options",
    "qbnnc.cli.options",
    "qbnnc.ir.arithmetic",
    "qbnnc.support.inputs",
    "qbnnc.ir.rng",
    "qbnnc.support.text",
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


@pytest.mark.slow
def test_the_readme_works_when_pasted(tmp_path: Path) -> None:
    """Its Python, and the commands on what that leaves, in order, in an empty folder."""
    ran = 0
    for language, text in BLOCK.findall((ROOT / "README.md").read_text()):
        commands = [[sys.executable, "-c", text]] if language else _commands(text)
        for command in commands:
            result = subprocess.run(
                command, cwd=tmp_path, capture_output=True, text=True, check=False
            )
            assert result.returncode == 0, f"{command}\n{result.stderr}"
            ran += 1
    assert ran == 13


def _commands(text: str) -> list[list[str]]:
    """The lines that need nothing but what the README has made so far."""
    lines = text.replace("\\\n", " ").splitlines()
    words = [shlex.split(line) for line in lines if line.startswith("qbnnc ")]
    program = [sys.executable, "-c", "from qbnnc.cli.main import main; main()"]
    return [program + line[1:] for line in words if "--model" not in line]
