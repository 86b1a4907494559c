"""Errors name options as Python does, and the command line shows its flags."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from qbnnc.cli.flags import with_flags
from qbnnc.cli.main import COMMANDS, cli
from tests.commands import Runner

ROOT = Path(__file__).resolve().parents[2]
CORE = ("ir", "frontend", "passes", "backends", "runtime", "tools/qbnnc/support")
NO_OPTION = {"or"}  # the operator


@click.command()
@click.option("--calib", "calibration", metavar="FILE[:KEY]")
@click.option("--trust-pickle", is_flag=True)
@click.option("--embedded/--no-embedded", default=True)
@click.option("--check")
@click.option("--no-check", is_flag=True)
@click.option("-o", "--output", "outputs")
def command() -> None:
    """Have options of every kind."""


@pytest.mark.parametrize(
    ("python", "shown"),
    [
        ("`calibration` x.npy: no rows", "--calib x.npy: no rows"),
        ("give `calibration=...`", "give --calib FILE[:KEY]"),
        ("or `trust_pickle=True`", "or --trust-pickle"),
        ("`embedded=False`: it is", "--no-embedded: it is"),
        ("`check=None` skips it, `check='full'` does not",
         "--no-check skips it, --check full does not"),
        ("name one with `outputs='a.onnx'`", "name one with -o a.onnx"),
        ("`other` and `other=3` stay", "`other` and `other=3` stay"),
        ("calibration data", "calibration data"),
    ],
)  # fmt: skip
def test_options_are_spelt_as_flags(python: str, shown: str) -> None:
    assert with_flags(python, command) == shown


def test_the_first_command_that_has_the_option_decides() -> None:
    other = click.Command("other", params=[click.Option(["--train", "calibration"])])
    assert with_flags("`calibration`, `outputs`", other, command) == "--train, -o"


def texts(file: Path) -> Iterator[str]:
    """All texts in a file but docstrings, which are expressions of their own."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in alone:
            yield node.value


FILES = [file for folder in CORE for file in sorted((ROOT / folder).rglob("*.py"))]


def test_core_layers_speak_of_no_flags() -> None:
    said = [(file.name, text) for file in FILES for text in texts(file)]
    assert len(said) > 1000
    assert [each for each in said if re.search(r"(?<![\w-])--[a-z]", each[1])] == []


def test_every_option_that_an_error_names_is_one() -> None:
    context = click.Context(cli)
    commands = [found for name in COMMANDS if (found := cli.get_command(context, name))]
    known = {each.name for one in commands for each in one.params} | NO_OPTION
    named = {
        name
        for file in FILES
        for text in texts(file)
        for name in re.findall(r"`(\w+)(?:=[^`]*)?`", text)
    }
    assert {"samples", "calibration", "dropout"} <= named
    assert named - known == set()


def test_a_command_says_what_python_says_in_its_own_words(qbnnc_command: Runner) -> None:
    said = qbnnc_command.refused("compile", "lenet_mcd.pt", "-o", "a.qbnn")
    assert "pass --model package.module:factory, the function or class" in said
