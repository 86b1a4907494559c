"""Mistakes when compiling: each is one clear sentence, exit code 2, nothing written."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import qbnnc
from qbnnc.support.errors import UserError
from tests.commands import Runner, npz

WEIGHTS = ("lenet_mcd.pt", "--model", "tools.models:LeNet_MCD", "--calib", "fashion.npz:calib")
OUT = ("-o", "out.qbnn", "-o", "out.onnx")
HASTY = ("--calibration-passes", 1, "--no-distribution-check")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read (no such file"),
        (b"", "is empty"),
        (b"hello, world\n", "text"),
        (b"PK\x03\x04broken", "damaged"),
        (b"\x80\x02}q\x00.", "pickle"),
    ],
)
def test_files_that_are_no_model(
    qbnnc_command: Runner, content: bytes | None, message: str
) -> None:
    if content is not None:
        Path("m.pt").write_bytes(content)
    said = qbnnc_command.refused("compile", "m.pt", *WEIGHTS[1:], *OUT)
    assert said.startswith("m.pt: ")
    assert message in said


def test_a_truncated_model(qbnnc_command: Runner) -> None:
    Path("m.pt").write_bytes(Path("lenet_mcd.pt").read_bytes()[:5000])
    assert qbnnc_command.refused("compile", "m.pt", *WEIGHTS[1:], *OUT).startswith("m.pt: ")


class Exploit:
    def __reduce__(self) -> tuple[object, tuple[()]]:
        return Path("owned").touch, ()


def test_pickles_are_not_opened(qbnnc_command: Runner) -> None:
    torch.save(nn.Linear(2, 2), "module.pt")
    Path("evil.pt").write_bytes(pickle.dumps(Exploit()))
    torch.save({"w": Exploit()}, "evil_zip.pt")
    for name in ("module.pt", "evil.pt", "evil_zip.pt"):
        assert qbnnc_command.refused("compile", name, *WEIGHTS[1:], *OUT).startswith(name)
    assert not Path("owned").exists()


@pytest.mark.few(6)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--bits", "w9a7"), "--bits w9a7: write wNaM"),
        (("--bits", "int8"), "write wNaM"),
        (("--model-args", "p=x"), "the value is no JSON"),
        (("--model-args", "p"), "write name=value, such as p=0.2"),
        (("--model", "tools/models.py:LeNet_MCD"), "write tools.models:LeNet_MCD"),
        (("--model-args", "q=0.5"), "check --model-args"),
        (("--model", "tools.models:Nothing"), "no function or class 'Nothing'"),
        (("--model", "nowhere:LeNet"), "--model nowhere:LeNet: "),
        (("--model", "models"), "--model models: "),
        (("--calib", "fashion.npz:none"), "no array 'none'"),
        (("--calib", "fashion.npz"), "which array?"),
        (("--calib", "missing.npz"), "missing.npz: cannot be read"),
        (("--calib", "README.md"), "README.md: no .npy or .npz"),
        (("-o", "model.txt"), "model.txt: the suffix must be"),
        (("-o", "nowhere/model.qbnn"), "there is no folder nowhere"),
        (("-o", "out.qbnn"), "named twice"),
        (("--layer", "nowhere=w4a4"), "there is no such layer; there are conv1, conv2"),
        (("--layer", "conv1"), "write NAME=wNaM"),
        (("--model-args", "a=1,a=2"), "given twice"),
    ],
)  # fmt: skip
def test_wrong_options(qbnnc_command: Runner, options: tuple[str, ...], message: str) -> None:
    given = [*WEIGHTS, *OUT]
    if options[0] in ("--model", "--calib"):  # it is given once
        del given[(at := given.index(options[0])) : at + 2]
    assert message in qbnnc_command.refused("compile", *given, *options)


def test_unknown_choices_and_missing_options_are_told_by_name(qbnnc_command: Runner) -> None:
    for wrong in (("--task", "guess"), ("--samples", "0"), ("--wat",)):
        result = qbnnc_command("compile", *WEIGHTS, *OUT, *wrong)
        assert result.code == 2
        assert wrong[0] in result.err
    assert qbnnc_command("compile", "lenet_mcd.pt").code == 2


def test_calibration_data_that_does_not_fit(qbnnc_command: Runner) -> None:
    base = WEIGHTS[:3]
    pixels = np.zeros((8, 1, 28, 28), np.float32)
    cases = {
        "shape": (np.zeros((8, 3, 28, 28), np.float32), "28, 28]"),
        "last": (np.zeros((8, 28, 28, 1), np.float32), "x.transpose(0, 3, 1, 2)"),
        "empty": (pixels[:0], "row"),
        "nan": (np.full_like(pixels, np.nan), "NaN"),
        "complex": (pixels.astype(complex), "complex"),
        "object": (None, "Python objects"),
    }
    for name, (array, message) in cases.items():
        path = Path(f"{name}.npy")
        if array is None:
            np.save(path, np.array([None]), allow_pickle=True)
        else:
            np.save(path, array)
        said = qbnnc_command.refused("compile", *base, *OUT, "--calib", path)
        assert message in said


def test_no_calibration_data(qbnnc_command: Runner) -> None:
    said = qbnnc_command.refused("compile", *WEIGHTS[:3], *OUT)
    assert "--calib" in said
    net = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1)).eval()
    qbnnc.save(net, "net.pt", (torch.zeros(2, 3),))
    assert "no calibration data" in qbnnc_command.refused("compile", "net.pt", *OUT)


@pytest.mark.slow
def test_few_calibration_rows_are_a_warning(qbnnc_command: Runner) -> None:
    np.save("few.npy", npz("fashion.npz")["calib"][:20])
    result = qbnnc_command("compile", *WEIGHTS[:3], *OUT, "--calib", "few.npy", *HASTY)
    assert result.code == 0
    assert "Warning: 20 calibration rows are few" in result.err


def test_nan_weights_are_named(qbnnc_command: Runner) -> None:
    weights = torch.load("lenet_mcd.pt", weights_only=True)
    weights["conv2.weight"][0, 0, 0, 0] = float("nan")
    torch.save(weights, "lenet_mcd.pt")
    assert "conv2.weight" in qbnnc_command.refused("compile", *WEIGHTS, *OUT)


def test_an_unsupported_op_is_named(qbnnc_command: Runner) -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 4), nn.LSTM(4, 2))

    class Lgamma(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.lgamma(net[0](x))

    with pytest.raises(UserError, match="lgamma"):
        qbnnc.save(Lgamma().eval(), "net.pt", (torch.zeros(2, 3),))
    assert not Path("net.pt").exists()


def test_an_unwritable_output(qbnnc_command: Runner) -> None:
    Path("folder.qbnn").mkdir()
    assert "cannot be written" in qbnnc_command.refused("compile", *WEIGHTS, "-o", "folder.qbnn")


def test_an_existing_output_survives_a_failed_compile(qbnnc_command: Runner) -> None:
    Path("out.qbnn").write_bytes(b"precious")
    qbnnc_command.refused("compile", *WEIGHTS, *OUT, "--bits", "w1a1")
    assert Path("out.qbnn").read_bytes() == b"precious"


def test_options_about_making_are_refused_for_what_is_made(
    qbnnc_command: Runner, artefacts: Path
) -> None:
    made = ("compile", artefacts / "lenet.qbnn", "-o", "other.onnx")
    for options in (
        ("--bits", "w4a4"),
        ("--input-bits", 8),
        ("--residual-bits", 8),
        ("--rounding", "nearest"),
        ("--no-bias-correction",),
    ):
        assert "compiled already" in qbnnc_command.refused(*made, *options)


@pytest.mark.parametrize("source", [None, 5, len, []])
def test_sources_that_are_none(source: Any) -> None:
    with pytest.raises(UserError, match="the source: "):
        qbnnc.compile(source, "a.qbnn")


@pytest.mark.parametrize(
    "options",
    [
        {"bits": 8},
        {"samples": "5"},
        {"calibration_passes": 0},
        {"task": 3},
        {"input_bits": 9},
        {"input_bits": 1},
        {"residual_bits": 9},
        {"residual_bits": 1},
        {"outer_bits": 9},
        {"rounding": "up"},
        {"observer": "max"},
    ],
)
def test_options_of_the_wrong_type(options: dict[str, Any], demo: Path) -> None:
    with pytest.raises(UserError, match=r"^`\w+`"):
        qbnnc.compile(demo / "lenet_mcd.pt", "a.qbnn", **options)


def test_a_misspelt_command_is_recognised(qbnnc_command: Runner) -> None:
    result = qbnnc_command("complie")
    assert result.code == 2
    assert "did you mean 'compile'" in result.err


class TwoHeads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y = self.fc(x)
        return y[:, 0], y[:, 1].exp()


@pytest.mark.few(0)
def test_regression_heads_that_would_be_misread(qbnnc_command: Runner) -> None:
    x = torch.randn(120, 3)
    qbnnc.save(TwoHeads(), "b.pt", (x[:2],), calibration=x)
    said = qbnnc_command.refused("compile", "b.pt", "-o", "b.qbnn", "--task", "regression")
    assert "LOG of a variance" in said


@pytest.mark.slow
def test_modules_in_a_list_are_an_ensemble(tmp_path: Path) -> None:
    torch.manual_seed(0)
    nets = [nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).eval() for _ in range(3)]
    x = torch.randn(120, 3).numpy()
    model = qbnnc.compile(nets, tmp_path / "nets.qbnn", calibration=x)
    assert len(model.members) == 3
    qbnnc.save(nets, tmp_path / "float.qbnn", (torch.zeros(2, 3),), calibration=x)
    assert len(qbnnc.compile(tmp_path / "float.qbnn", tmp_path / "b.qbnn").members) == 3
    with pytest.raises(UserError, match=r"an ensemble is saved as \.qbnn"):
        qbnnc.save(nets, tmp_path / "nets.pt", (torch.zeros(2, 3),))
    with pytest.raises(UserError, match="the source: a list cannot be compiled"):
        qbnnc.compile([nets[0], "net.pt"], tmp_path / "c.qbnn", calibration=x)


@pytest.mark.slow
def test_prefixes_are_said_on_the_command_line(qbnnc_command: Runner) -> None:
    weights = torch.load("lenet_mcd.pt", weights_only=True)
    torch.save({f"model.{name}": tensor for name, tensor in weights.items()}, "lightning.pt")
    result = qbnnc_command("compile", "lightning.pt", *WEIGHTS[1:], *OUT, *HASTY)
    assert result.code == 0
    assert "Warning: lightning.pt: 'model.' is taken off the names of the weights" in result.err
