"""Outputs that would destroy something, and inputs that never end: refused before any work."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import qbnnc
from qbnnc.support.errors import FileError
from tests.commands import Runner

SPELLINGS = ("float.qbnn", "./float.qbnn", "folder/../float.qbnn", "soft.qbnn", "hard.qbnn")


@pytest.fixture
def trained(qbnnc_command: Runner) -> Runner:
    """float.qbnn with names that lead to it, and x.npz."""
    net = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1)).eval()
    rows = np.random.default_rng(0).normal(size=(120, 3)).astype(np.float32)
    qbnnc.save(net, "float.qbnn", (torch.zeros(2, 3),), calibration=rows)
    np.savez("x.npz", x=rows)
    Path("folder").mkdir()
    Path("soft.qbnn").symlink_to("float.qbnn")
    os.link("float.qbnn", "hard.qbnn")
    return qbnnc_command


@pytest.mark.parametrize("spelling", [*SPELLINGS, "absolute"])
def test_the_trained_model_is_not_replaced(trained: Runner, spelling: str) -> None:
    output = Path("float.qbnn").resolve() if spelling == "absolute" else Path(spelling)
    said = trained.refused("compile", "float.qbnn", "-o", output)
    assert "is an input as well" in said
    with pytest.raises(FileError, match="is an input as well"):
        qbnnc.compile("float.qbnn", ["other.qbnn", output])
    with pytest.raises(FileError, match="is an input as well"):
        qbnnc.compile([Path("float.qbnn")], output)
    assert not Path("other.qbnn").exists()
    assert "is an input" in trained.refused(
        "finetune", "float.qbnn", "--data", "x.npz:x", "-o", output
    )


def test_the_members_of_an_ensemble_are_not_replaced(trained: Runner) -> None:
    for name in ("a", "b"):
        shutil.copy("float.qbnn", f"folder/{name}.qbnn")
    for members in (["folder"], ["folder/a.qbnn", "folder/b.qbnn"]):
        assert "is an input" in trained.refused("compile", *members, "-o", "folder/b.qbnn")


def test_data_are_not_replaced(trained: Runner, artefacts: Path) -> None:
    shutil.copy("x.npz", "data.qbnn")
    assert "is an input" in trained.refused(
        "compile", "float.qbnn", "--calib", "data.qbnn", "-o", "data.qbnn"
    )
    assert trained("compile", "float.qbnn", "-o", "out.qbnn", "-q").code == 0
    run = ("run", "out.qbnn", "--input")
    for spec in ("x.npz", "x.npz:x", "./x.npz:x"):
        assert "is an input" in trained.refused(*run, spec, "-o", "x.npz")
    shutil.copy("out.qbnn", "out.npz")
    assert "is an input" in trained.refused("run", "out.npz", "--input", "x.npz", "-o", "out.npz")


def test_one_file_under_two_names(trained: Runner) -> None:
    Path("link.qbnn").symlink_to("out.qbnn")
    for second in ("./out.qbnn", "link.qbnn"):
        said = trained.refused("compile", "float.qbnn", "-o", "out.qbnn", "-o", second)
        assert "named twice" in said


def test_what_is_compiled_replaces_another_artefact(trained: Runner) -> None:
    for mode in (0o600, 0o664):
        assert trained("compile", "float.qbnn", "-o", "out.qbnn", "-q").code == 0
        Path("out.qbnn").chmod(mode)
        assert trained("compile", "float.qbnn", "-o", "out.qbnn", "-q").code == 0
        assert stat.S_IMODE(Path("out.qbnn").stat().st_mode) == mode


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: Path(path).symlink_to("/dev/zero")])
def test_no_end_and_no_file(trained: Runner, make: object) -> None:
    assert callable(make)
    assert trained("compile", "float.qbnn", "-o", "out.qbnn", "-q").code == 0
    for suffix in ("qbnn", "onnx", "npz", "npy", "pt", "jsonl", "html"):
        make(f"odd.{suffix}")
    data = ("--data", "x.npz:x,x")
    for command in (
        ("compile", "odd.qbnn", "-o", "new.qbnn"),
        ("compile", "odd.pt", "-o", "new.qbnn"),
        ("compile", "odd.pt", "odd.pt", "-o", "new.qbnn"),
        ("compile", "float.qbnn", "-o", "odd.qbnn"),
        ("compile", "float.qbnn", "-o", "odd.onnx"),
        ("compile", "float.qbnn", "--calib", "odd.npz:x", "-o", "new.qbnn"),
        ("run", "odd.qbnn", "--input", "x.npz"),
        ("run", "odd.onnx", "--input", "x.npz"),
        ("run", "out.qbnn", "--input", "odd.npy"),
        ("run", "out.qbnn", "--input", "x.npz", "-o", "odd.npz"),
        ("verify", "odd.qbnn", "--input", "x.npz"),
        ("verify", "out.qbnn", "--input", "x.npz", "--source", "odd.pt"),
        ("bench", "odd.qbnn"),
        ("inspect", "odd.pt"),
        ("inspect", "odd.onnx"),
        ("evaluate", "out.qbnn", "--data", "odd.npz", "--task", "regression"),
        ("evaluate", "odd.qbnn", *data, "--task", "regression"),
        ("finetune", "float.qbnn", "--data", "x.npz:x", "-o", "odd.qbnn"),
        ("finetune", "float.qbnn", "--data", "odd.npz", "-o", "new.qbnn"),
        ("sensitivity", "odd.qbnn", *data, "--task", "regression"),
        ("sensitivity", "float.qbnn", *data, "--task", "regression", "-o", "odd.jsonl"),
        (
            "sweep",
            "float.qbnn",
            *data,
            "--train",
            "x.npz:x,x",
            "--task",
            "regression",
            "-o",
            "odd.jsonl",
        ),
        ("report", "odd.jsonl", "-o", "new.html"),
    ):
        said = trained.refused(*command)
        assert "FIFO" in said or "device" in said, command


def test_a_compile_leaves_all_new_or_all_old(
    trained: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs = ("-o", "out.qbnn", "-o", "out.onnx")
    assert trained("compile", "float.qbnn", *outputs, "-q").code == 0
    old = [Path(name).read_bytes() for name in ("out.qbnn", "out.onnx")]
    rename = os.replace

    def replace(source: Path, target: Path) -> None:
        if target.suffix == ".onnx":
            raise OSError(5, "Input/output error")
        rename(source, target)

    monkeypatch.setattr(os, "replace", replace)
    said = trained("compile", "float.qbnn", *outputs, "-q", "--bits", "w4a4")
    assert said.code == 2
    assert said.err == "Error: out.onnx: cannot be written (input/output error)\n"
    assert [Path(name).read_bytes() for name in ("out.qbnn", "out.onnx")] == old
    assert not [name for name in os.listdir() if name.startswith(".qbnnc")]
