"""Options from a TOML file, and how the help shows options."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from qbnnc.cli.main import COMMANDS
from tests.commands import Runner

COMPILE = ("compile", "lenet_mcd.pt", "--config", "qbnnc.toml")
SETTINGS = """
[compile]
model = "tools.models:LeNet_MCD"
calib = "fashion.npz:calib"
bits = "w4a6"
samples = 3
output = ["a.qbnn"]
calibration-passes = 1
no-equalise = true
no-spread-check = true
distribution-check = "default"
"""


@pytest.mark.slow
def test_a_file_gives_options_and_the_command_line_wins(qbnnc_command: Runner) -> None:
    Path("qbnnc.toml").write_text(SETTINGS)
    made = qbnnc_command(*COMPILE, "--samples", 2)
    assert made.code == 0, made.err
    assert "w4a6, input=a8, conv1=w4a8, fc1=w4a8, 2 samples" in made.words
    plain = qbnnc_command(
        *("compile", "lenet_mcd.pt", "--model", "tools.models:LeNet_MCD", "-o", "b.qbnn"),
        *("--calib", "fashion.npz:calib", "--bits", "w4a6", "--samples", 2, "--no-equalise"),
        *("--calibration-passes", 1, "--distribution-check", "default"),
    )
    assert plain.code == 0, plain.err
    assert Path("a.qbnn").read_bytes() == Path("b.qbnn").read_bytes()


def test_a_project_file_has_its_table(qbnnc_command: Runner) -> None:
    Path("pyproject.toml").write_text('[tool.qbnnc.run]\ninput = "x.npy"\n')
    message = qbnnc_command.refused("run", "no.qbnn", "--config", "pyproject.toml")
    assert message.startswith("no.qbnn: cannot be read")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bits = ", "qbnnc.toml: not TOML"),
        ("[run]\nseed = 1", "qbnnc.toml: no table [compile]; give each command a table"),
        ("[compile]\nbitz = 'w8a7'", "[compile]: compile has no option 'bitz'; did you mean bits?"),
        ("[compile]\nconfig = 'a.toml'", "compile has no option 'config'"),
        ("[compile]\nbits = ['w8a7']", "bits is one value, not a list"),
        ("[compile]\nequalise = 1", "equalise is true or false, not 1"),
        ("[compile]\nsamples = true", "samples is text or a number, not True"),
        ("[compile]\nsamples = {a = 1}", "samples is text or a number"),
    ],
)
def test_a_wrong_file_is_an_error(qbnnc_command: Runner, text: str, message: str) -> None:
    Path("qbnnc.toml").write_text(text)
    assert message in qbnnc_command.refused(*COMPILE)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_fits_80_columns_uncut(qbnnc_command: Runner, name: str) -> None:
    shown = qbnnc_command(name, "--help").out
    assert max(map(len, shown.splitlines())) <= 80
    assert "RANGE" not in shown
    assert "INTEGER" not in shown


def test_the_list_of_commands_is_uncut(qbnnc_command: Runner) -> None:
    shown = qbnnc_command("--help").out
    listed = re.findall(r"^  (\w+)  +(.*)$", shown.split("Commands:")[1], re.MULTILINE)
    assert [name for name, _ in listed] == list(COMMANDS)
    assert all(text.endswith(".") and not text.endswith("...") for _, text in listed)


def test_many_options_have_sections(qbnnc_command: Runner) -> None:
    shown = qbnnc_command("compile", "--help").out
    titles = re.findall(r"^(\w[\w9 ]*):$", shown, re.MULTILINE)
    assert titles == ["Options", "Network", "Data", "Bits", "Quantisation", "Checks", "C99", "ONNX"]
    bits = shown.split("\nBits:\n")[1].split("\nQuantisation:\n")[0]
    assert "--input-bits N " in bits


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_its_completion(qbnnc_command: Runner, shell: str) -> None:
    script = qbnnc_command("completion", shell)
    assert script.code == 0
    assert f"_QBNNC_COMPLETE={shell}_complete" in script.out
    assert "qbnnc" in script.out


@pytest.mark.slow
def test_an_artefact_prints_the_file_that_makes_it(qbnnc_command: Runner) -> None:
    compiled = ("compile", "lenet_mcd.pt", "--model", "tools.models:LeNet_MCD")
    data = ("--calib", "fashion.npz:calib")
    first = qbnnc_command(
        *(*compiled, *data, "-o", "a.qbnn", "--bits", "w3a6", "--layer", "conv1=w8a8"),
        *("--samples", 3, "--calibration-passes", 1, "--no-equalise", "--scales", "pow2"),
        *("--quantise-output", "--mask-sharing", "batch", "--stretch", 1, "--no-bias-correction"),
    )
    assert first.code == 0, first.err
    printed = qbnnc_command("inspect", "a.qbnn", "--options").out
    assert printed.splitlines()[0] == "[compile]"
    Path("made.toml").write_text(printed)
    again = qbnnc_command(*compiled, *data, "-o", "b.qbnn", "--config", "made.toml")
    assert again.code == 0, again.err
    assert Path("a.qbnn").read_bytes() == Path("b.qbnn").read_bytes()
