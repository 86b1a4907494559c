"""Mistakes with artefacts: each is one clear sentence, exit code 2, nothing written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save as save_tensors
from torch import nn

import qbnnc
from tests.commands import Runner, npz


@pytest.mark.few(1)
@pytest.mark.parametrize("name", ["lenet.qbnn", "lenet.onnx"])
def test_inputs_that_do_not_fit(qbnnc_command: Runner, artefacts: Path, name: str) -> None:
    pixels = np.zeros((2, 1, 28, 28), np.float32)
    cases = [
        (pixels[:, 0], r"[2, 28, 28]"),
        (np.full_like(pixels, np.nan), "NaN in row 0"),
        (pixels.astype(complex), "complex"),
        (np.array([["a"]]), "real numbers"),
    ]
    for array, message in cases:
        np.save("x.npy", array)
        said = qbnnc_command.refused("run", artefacts / name, "--input", "x.npy", "-o", "p.npz")
        assert message in said
    np.save("x.npy", np.array([None]), allow_pickle=True)
    qbnnc_command.refused("run", artefacts / name, "--input", "x.npy", "-o", "p.npz")


@pytest.mark.few(6)
@pytest.mark.parametrize("dtype", [np.float64, np.int32, np.uint8, np.float16])
@pytest.mark.parametrize("name", ["lenet.qbnn", "lenet.onnx"])
def test_other_numbers_are_cast(
    qbnnc_command: Runner, artefacts: Path, name: str, dtype: type
) -> None:
    np.save("x.npy", npz("fashion.npz")["x"][:3].astype(dtype))
    np.save("y.npy", npz("fashion.npz")["x"][:3].astype(np.float32))
    for file in ("x", "y"):
        run = ("run", artefacts / name, "--input", f"{file}.npy", "-o", f"{file}.npz", "-q")
        assert qbnnc_command(*run).code == 0
    assert (npz("x.npz")["samples"] == npz("y.npz")["samples"]).all()


def test_damaged_artefacts(qbnnc_command: Runner, artefacts: Path) -> None:
    for suffix in ("qbnn", "onnx"):
        good = (artefacts / f"lenet.{suffix}").read_bytes()
        flipped = bytearray(good)
        flipped[len(good) // 2] ^= 16
        for data in (bytes(flipped), good[: len(good) // 2], b""):
            Path(f"bad.{suffix}").write_bytes(data)
            for command in (
                ("run", f"bad.{suffix}", "--input", "fashion.npz:x", "-o", "p.npz"),
                ("verify", f"bad.{suffix}", "--input", "fashion.npz:x"),
                ("inspect", f"bad.{suffix}"),
            ):
                assert qbnnc_command.refused(*command).startswith(f"bad.{suffix}: ")


def test_an_artefact_of_a_newer_version(qbnnc_command: Runner) -> None:
    header = json.dumps({"version": 99, "sha256": "", "model": {}})
    Path("new.qbnn").write_bytes(
        save_tensors({"a": np.zeros(1, np.float32)}, metadata={"qbnnc": header})
    )
    said = qbnnc_command.refused("run", "new.qbnn", "--input", "fashion.npz:x")
    assert "upgrade qbnnc" in said


def test_artefacts_of_two_compiles_are_not_compared(qbnnc_command: Runner, artefacts: Path) -> None:
    paths = (artefacts / "lenet.qbnn", artefacts / "mlp.qbnn")
    said = qbnnc_command.refused("verify", *paths, "--input", "fashion.npz:x")
    assert "not of the same compile" in said


def test_more_samples_than_the_onnx_file_has(qbnnc_command: Runner, artefacts: Path) -> None:
    run = ("run", artefacts / "lenet.onnx", "--input", "fashion.npz:x", "--samples", 21)
    assert "20" in qbnnc_command.refused(*run)


def test_a_float_model_is_not_run(qbnnc_command: Runner) -> None:
    net = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1)).eval()
    qbnnc.save(net, "float.qbnn", (torch.zeros(2, 3),), calibration=np.ones((120, 3)))
    np.save("x.npy", np.ones((2, 3)))
    assert "compile" in qbnnc_command.refused("run", "float.qbnn", "--input", "x.npy")
    assert qbnnc_command("compile", "float.qbnn", "-o", "out.qbnn").code == 0
    assert qbnnc_command("run", "out.qbnn", "--input", "x.npy").code == 0


def test_verify_needs_rows(qbnnc_command: Runner, artefacts: Path) -> None:
    np.save("none.npy", np.zeros((0, 1, 28, 28), np.float32))
    said = qbnnc_command.refused("verify", artefacts / "lenet.qbnn", "--input", "none.npy")
    assert "no rows" in said


def test_a_prediction_is_written_as_npz(qbnnc_command: Runner, artefacts: Path) -> None:
    run = ("run", artefacts / "lenet.qbnn", "--input", "fashion.npz:x")
    assert "written as .npz" in qbnnc_command.refused(*run, "-o", "out.txt")
    assert "cannot be written" in qbnnc_command.refused(*run, "-o", "nowhere/out.npz")


def test_a_number_of_samples_that_members_do_not_share(qbnnc_command: Runner) -> None:
    net = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1)).eval()
    torch.save([net.state_dict()] * 3, "members.pt")
    Path("nets.py").write_text(
        "from torch import nn\n"
        "def make(): return nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1))\n"
    )
    np.save("x.npy", np.random.default_rng(0).normal(size=(120, 3)))
    made = (
        "members.pt",
        "--model",
        "nets:make",
        "--calib",
        "x.npy",
        "-o",
        "e.qbnn",
        "-o",
        "e.onnx",
    )
    assert qbnnc_command("compile", *made).code == 0
    assert qbnnc_command("verify", "e.qbnn", "e.onnx", "--input", "x.npy").code == 0
    for command in ("verify", "run"):
        for name in ("e.qbnn", "e.onnx"):
            said = qbnnc_command.refused(command, name, "--input", "x.npy", "--samples", 7)
            assert "7" in said
