"""Every command on a terminal: Ctrl-C, and lines of 80 columns."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

from qbnnc.cli.main import COMMANDS
from qbnnc.ir import format
from qbnnc.loading.sources import float_model
from tests.commands import Result, Runner
from tests.net import Net
from tests.study.sweeps import labelled

LAYERS = [f"encoder.block{number}.attention.output_projection" for number in range(5)]
BITS = [word for name in LAYERS for word in ("--layer", f"{name}=w3a4")]
NAME = "a_network_whose_name_is_rather_long_for_80_columns"
MADE = (f"{NAME}.qbnn", f"{NAME}.onnx")


@pytest.mark.parametrize("name", COMMANDS)
def test_ctrl_c_is_one_line(
    qbnnc_command: Runner, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    module = importlib.import_module(f"qbnnc.cli.{name}")
    monkeypatch.setattr(module.command, "parse_args", interrupted)
    assert qbnnc_command(name) == Result(130, "", "interrupted\n")


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_fits_80_columns(qbnnc_command: Runner, name: str) -> None:
    shown = qbnnc_command(*filter(None, [name]), "--help").out
    assert max(map(len, shown.splitlines())) <= 80
    assert "..." not in [line.split()[-1] for line in shown.splitlines() if line and not name]


@pytest.fixture
def net(qbnnc_command: Runner) -> Runner:
    """In a folder with net.qbnn, of layers with long names, and data.npz (x, y)."""
    graph = Net((6,))
    for number, name in enumerate(LAYERS):
        graph.linear(6, name).relu(f"relu{number}").dropout(0.2, f"drop{number}")
    format.save(float_model((graph.linear(3, "out").graph(),), None), "net.qbnn")
    x, y = labelled(200)
    np.savez("data.npz", x=x, y=y)
    return qbnnc_command


def test_what_commands_print_fits_80_columns(net: Runner) -> None:
    task, calib = ("--task", "classification", "--samples", 2), ("--calib", "data.npz:x")
    data, bits = ("--data", "data.npz"), (*BITS, "--calibration-passes", 1)
    for command in (
        ("compile", "net.qbnn", *calib, *task, *bits, "-o", MADE[0], "-o", MADE[1]),
        ("inspect", "-v", MADE[0]),
        ("inspect", "--plan", MADE[0]),
        ("verify", *MADE, "--input", "data.npz:x"),
        ("run", MADE[0], "--input", "data.npz:x", "-o", f"{NAME}.npz"),
        ("evaluate", *MADE, "--compare", "net.qbnn", *data, "--seed", 1, "--seed", 2),
        ("sensitivity", "net.qbnn", *calib, *data, *task, *bits, "--tried", "w2", "--rows", 20),
        ("finetune", "net.qbnn", *data, *bits, "--epochs", 0.1, "-o", "tuned.qbnn"),
    ):
        printed = net(*command)
        assert printed.code == 0, printed.err
        lines = (printed.out + printed.err).splitlines()
        assert not [line for line in lines if len(line) > 80]


def test_one_is_not_many(net: Runner) -> None:
    np.savez("one.npz", x=labelled(1)[0])
    compiled = ("compile", "net.qbnn", "--calib", "one.npz:x", "--calibration-passes", 1)
    made = net(*compiled, "--samples", 1, "-o", "one.qbnn")
    assert made.err.startswith("Warning: 1 calibration row is few")
    assert ", w8a7, input=a8, 1 sample\n" in made.out
    assert "mse over 1 row x 1 pass, seed 0" in made.out
    assert (
        "oracle: 1 row x 1 sample x 1 seed\n"
        in net("verify", "one.qbnn", "--input", "one.npz:x").out
    )
    assert "memory, 1 row x 1 sample: " in net("inspect", "one.qbnn").out
    tuned = net("finetune", "net.qbnn", "--data", "data.npz", "-o", "t.qbnn", "--epochs", 1)
    assert tuned.code == 0
    assert "1 epoch of match" in net("inspect", "t.qbnn").out


def test_images_whose_channels_come_last(net: Runner) -> None:
    format.save(float_model((Net((3, 4, 5)).conv(2, 3, "conv").graph(),), None), "images.qbnn")
    images = np.random.default_rng(0).random((100, 3, 4, 5))
    np.save("last.npy", images.transpose(0, 2, 3, 1))
    np.save("images.npy", images)
    compiled = ("compile", "images.qbnn", "-o", "made.qbnn", "--calib")
    assert net(*compiled, "images.npy").code == 0
    for command in (
        (*compiled, "last.npy"),
        ("run", "made.qbnn", "--input", "last.npy"),
        ("verify", "made.qbnn", "--input", "last.npy"),
        ("finetune", "images.qbnn", "-o", "t.qbnn", "--data", "last.npy"),
    ):
        said = net.refused(*command)
        assert said.startswith("last.npy: the shape is [100, 4, 5, 3]")
        assert said.endswith("channels come first, so give x.transpose(0, 3, 1, 2)")


def test_options_for_a_float_model_need_one(net: Runner, artefacts: object) -> None:
    asked = ("evaluate", f"{artefacts}/lenet.qbnn", "--data", "fashion.npz:x,y")
    for option in (("--model", "tools.models:LeNet"), ("--dropout", "off")):
        said = net.refused(*asked, *option)
        assert said.startswith(f"{option[0]}: says how a float model is read")
        assert said.endswith("name a float model too, or leave the option out")
