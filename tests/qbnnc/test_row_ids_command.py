"""--row-ids and --default-seed on the command line."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.commands import Runner


@pytest.fixture
def files(qbnnc_command: Runner, artefacts: Path, tmp_path: Path) -> Path:
    x = np.random.default_rng(0).normal(size=(3, 1, 28, 28)).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=x, ids=np.array([8, 1, 8]), bad=np.array([0, -1, 2]))
    out = tmp_path / "ids.onnx"
    options = ("--row-ids", "--default-seed", 5, "-q", "-o", out)
    assert qbnnc_command("compile", artefacts / "lenet.qbnn", *options).code == 0
    return tmp_path


def test_run_verify_inspect(qbnnc_command: Runner, artefacts: Path, files: Path) -> None:
    x = ("--input", files / "x.npz:x")
    made = []
    for name in (files / "ids.onnx", artefacts / "lenet.qbnn"):
        ids = ("--row-ids", f"{files / 'x.npz'}:ids", "--seed", 3)
        ran = qbnnc_command("run", name, *x, *ids, "--json")
        assert ran.code == 0, ran.err
        made.append(json.loads(ran.out))
    assert list(made[0]) == list(made[1])
    for key in made[0]:
        np.testing.assert_allclose(made[0][key], made[1][key], rtol=1e-5, atol=1e-6)
    shown = qbnnc_command("run", artefacts / "lenet.qbnn", *x, *ids).out.splitlines()
    assert [line.split()[0] for line in shown[1:4]] == ["8", "1", "8"]
    assert qbnnc_command("verify", files / "ids.onnx", *x).code == 0
    assert qbnnc_command("inspect", files / "ids.onnx").code == 0


def test_refusals(qbnnc_command: Runner, artefacts: Path, files: Path) -> None:
    x = ("--input", files / "x.npz:x")
    lenet, spec = artefacts / "lenet.qbnn", files / "x.npz"
    bad = qbnnc_command("run", lenet, *x, "--row-ids", f"{spec}:bad")
    both = qbnnc_command("run", lenet, *x, "--row-ids", f"{spec}:ids", "--first-row", 2)
    plain = files / "plain.onnx"
    assert qbnnc_command("compile", lenet, "-q", "-o", plain).code == 0
    without = qbnnc_command("run", plain, *x, "--row-ids", f"{spec}:ids")
    for ran, text in ((bad, "-1"), (both, "--first-row"), (without, "--row-ids")):
        assert ran.code == 2
        assert text in ran.err
    for option in (("--row-ids",), ("--default-seed", 3)):
        ran = qbnnc_command("compile", lenet, *option, "-o", files / "other.qbnn")
        assert ran.code == 2
        assert f"{option[0]}: is for .onnx files" in ran.err
        assert not (files / "other.qbnn").exists()
