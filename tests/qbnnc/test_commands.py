"""The four commands, on the bundled networks."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from qbnnc.ir import format
from qbnnc.ir.types import Array
from tests.commands import Runner, npz

COMPILE = (
    "compile",
    "lenet_mcd.pt",
    "--model",
    "tools.models:LeNet_MCD",
    "--calib",
    "fashion.npz:calib",
)
UNCHECKED = ("--no-distribution-check",)  # tests/qbnnc/test_source_check.py is about that


def test_compile_verify_run_inspect(qbnnc_command: Runner) -> None:
    """The demo's story, from a file of weights to a prediction."""
    options = ("--samples", 5, "--task", "classification", "--calibration-passes", 1)
    made = qbnnc_command(*COMPILE, "-o", "a.onnx", "-o", "a.qbnn", "--bits", "w8a7", *options)
    assert made.code == 0
    assert "MC dropout, w8a7, input=a8, 5 samples" in made.out
    assert "a.onnx" in made.out
    checked = qbnnc_command("verify", "a.onnx", "a.qbnn", "--input", "fashion.npz:x", "--seed", 7)
    assert checked.code == 0
    assert checked.out.count("equal") == 2
    arrays = {}
    for suffix in ("onnx", "qbnn"):
        out = f"{suffix}.npz"
        ran = qbnnc_command("run", f"a.{suffix}", "--input", "fashion.npz:x", "-o", out)
        assert ran.code == 0
        arrays[suffix] = npz(out)
        assert list(arrays[suffix]) == ["samples", "probabilities", "entropy", "mutual_information"]
    assert (arrays["onnx"]["samples"] == arrays["qbnn"]["samples"]).all()
    for name in ("a.onnx", "a.qbnn"):
        seen = qbnnc_command("inspect", name)
        assert seen.code == 0
        assert "integer between input and outputs: yes" in seen.out
        assert max(map(len, seen.out.splitlines())) <= 80


@pytest.mark.slow
def test_artefacts_of_one_compile_share_their_digest(qbnnc_command: Runner) -> None:
    assert qbnnc_command(*COMPILE, "-o", "a.qbnn", *UNCHECKED, "-q").out == ""
    assert qbnnc_command("compile", "a.qbnn", "-o", "b.onnx", "-q").code == 0
    digests = {
        json.loads(qbnnc_command("inspect", name, "--json").out)["digest"]
        for name in ("a.qbnn", "b.onnx")
    }
    assert len(digests) == 1


@pytest.mark.slow
def test_compiling_twice_gives_the_same_bytes(qbnnc_command: Runner) -> None:
    quick = ("-q", "--calibration-passes", 1, *UNCHECKED)
    first = [Path("a.onnx"), Path("a.qbnn")]
    second = [Path("b.onnx"), Path("b.qbnn")]
    for paths in (first, second):
        assert qbnnc_command(*COMPILE, "-o", paths[0], "-o", paths[1], *quick).code == 0
    for a, b in zip(first, second, strict=True):
        assert a.read_bytes() == b.read_bytes()


@pytest.mark.slow
def test_few_bits_are_clipped_and_fitted_unless_told_otherwise(qbnnc_command: Runner) -> None:
    """The report and the artefact tell what was done; verify holds for it."""
    quick = ("--calibration-passes", 1, "--bits", "w4a4", "--input-bits", 8, *UNCHECKED)
    made = qbnnc_command(*COMPILE, "-o", "a.onnx", "-o", "a.qbnn", *quick)
    assert "MC dropout, w4a4, input=a8" in made.out
    assert "mse over" in made.out
    checked = qbnnc_command("verify", "a.onnx", "a.qbnn", "--input", "fashion.npz:x")
    assert checked.out.count("equal") == 2
    plain = ("--calibration", "minmax", "--rounding", "nearest", "--no-bias-correction", "-q")
    assert qbnnc_command(*COMPILE, "-o", "b.qbnn", *quick, *plain).code == 0
    clipped, wide = (format.load(name).provenance for name in (Path("a.qbnn"), Path("b.qbnn")))
    assert clipped.weights == "channel-symmetric, fitted rounding, bias correction"
    assert clipped.calibration.endswith("mse of weights")
    assert wide.weights == "channel-symmetric"
    assert wide.calibration.startswith("minmax over")


@pytest.mark.slow
def test_print_after_shows_the_graph(qbnnc_command: Runner) -> None:
    quick = ("--calibration-passes", 1, "-q", *UNCHECKED)
    shown = qbnnc_command(*COMPILE, "-o", "a.qbnn", "--print-after", "quantize", *quick)
    assert shown.out.startswith("integer graph(%")
    assert "conv2d_integer" in shown.out


def test_fewer_samples_are_the_first_ones(qbnnc_command: Runner, artefacts: Path) -> None:
    for name in ("lenet.onnx", "lenet.qbnn"):
        for count in (3, 20):
            made = qbnnc_command(
                "run", artefacts / name, "--input", "fashion.npz:x", "--samples", count, "-o",
                f"{count}.npz", "-q",
            )  # fmt: skip
            assert made.code == 0
        few, many = npz("3.npz"), npz("20.npz")
        assert (few["samples"] == many["samples"][:3]).all()


def test_a_batch_may_be_split_by_first_row(qbnnc_command: Runner, artefacts: Path) -> None:
    x = npz("fashion.npz")["x"][:10]
    for name in ("lenet.onnx", "lenet.qbnn"):
        for part, first in ((x, 0), (x[:4], 0), (x[4:], 4)):
            np.save("part.npy", part)
            qbnnc_command(
                "run", artefacts / name, "--input", "part.npy", "--first-row", first, "--seed",
                "-3", "-o", f"{first}-{len(part)}.npz", "-q",
            )  # fmt: skip
        whole, head, tail = (npz(f"{f}.npz")["samples"] for f in ("0-10", "0-4", "4-6"))
        assert (whole == np.concatenate([head, tail], axis=1)).all()


def test_verify_finds_a_difference_and_its_node(
    qbnnc_command: Runner, artefacts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A runtime with a broken kernel: exit code 1, and the node where it begins."""
    from qbnnc.loading.artefacts import QbnnArtefact

    predict, trace = QbnnArtefact.predict, QbnnArtefact.trace

    def wrong(self: QbnnArtefact, *arguments: Any, **options: Any) -> dict[str, Array]:
        made = dict(predict(self, *arguments, **options))
        made["samples"] = made["samples"].copy()
        made["samples"][1, 2, 0] += 1
        return made

    def traced(self: QbnnArtefact, *arguments: Any, **options: Any) -> dict[str, Array]:
        made = dict(trace(self, *arguments, **options))
        made["drop2"] = made["drop2"] ^ 1
        made["fc2.real"] = made["fc2.real"] + 1
        return made

    monkeypatch.setattr(QbnnArtefact, "predict", wrong)
    monkeypatch.setattr(QbnnArtefact, "trace", traced)
    paths = (artefacts / "lenet.onnx", artefacts / "lenet.qbnn")
    found = qbnnc_command("verify", *paths, "--input", "fashion.npz:x")
    assert found.code == 1
    assert "DIFFERS" in found.out
    assert "first differing node: drop2" in found.words
    assert "sample 1, row 2" in found.out
    as_json = json.loads(qbnnc_command("verify", *paths, "--input", "fashion.npz:x", "--json").out)
    assert [r["equal"] for r in as_json] == [True, False]


def test_regression_has_aleatoric_and_epistemic_variance(
    qbnnc_command: Runner, artefacts: Path, diabetes: dict[str, NDArray[np.float32]]
) -> None:
    np.save("x.npy", diabetes["x_test"])
    assert (
        qbnnc_command(
            "verify", artefacts / "mlp.onnx", artefacts / "mlp.qbnn", "--input", "x.npy"
        ).code
        == 0
    )
    assert qbnnc_command("run", artefacts / "mlp.qbnn", "--input", "x.npy", "-o", "p.npz").code == 0
    made = npz("p.npz")
    assert list(made) == [
        "samples", "samples_log_var", "mean", "aleatoric", "epistemic", "variance",
    ]  # fmt: skip
    np.testing.assert_allclose(made["variance"], made["aleatoric"] + made["epistemic"], rtol=1e-5)


def test_an_empty_batch(qbnnc_command: Runner, artefacts: Path) -> None:
    np.save("none.npy", np.zeros((0, 1, 28, 28), np.float32))
    for name in ("lenet.onnx", "lenet.qbnn"):
        ran = qbnnc_command("run", artefacts / name, "--input", "none.npy", "-o", "p.npz")
        assert ran.code == 0
        assert npz("p.npz")["samples"].shape == (20, 0, 10)


def test_the_plan_of_this_machine(qbnnc_command: Runner, artefacts: Path) -> None:
    lenet = artefacts / "lenet.qbnn"
    seen = qbnnc_command("inspect", lenet, "--plan", "--batch", "3", "--threads", "1").out
    assert seen.startswith("3 rows x ")
    assert "% above what is needed at once" in seen.replace("\n  ", " ")
    assert "call 1: member 0, rows 0..2, samples 0.." in seen
    assert re.search(r"^both +convolve +fc1 +1x\d+, K \d+, tiles", seen, re.MULTILINE)
    plan = json.loads(qbnnc_command("inspect", lenet, "--plan", "--json").out)
    assert plan["lower_bound"] <= plan["scratch_bytes"] <= 1.15 * plan["lower_bound"]
    assert sum(o["share"] for o in plan["operations"]) == pytest.approx(1)
    for model in ("lenet.onnx", "lenet.qbnn"):
        assert qbnnc_command("inspect", artefacts / model, "--plan").code == 0


def test_verbose_inspection_names_the_places(qbnnc_command: Runner, artefacts: Path) -> None:
    assert "conv1 (lenet.py:" in qbnnc_command("inspect", artefacts / "lenet.qbnn", "-v").out


def test_version_and_help(qbnnc_command: Runner) -> None:
    assert "0." in qbnnc_command("--version").out
    for command in ("compile", "run", "verify", "inspect"):
        shown = qbnnc_command(command, "--help")
        assert shown.code == 0
        assert max(map(len, shown.out.splitlines())) <= 80


@pytest.mark.few(0)
def test_running_needs_neither_torch_nor_onnx(artefacts: Path, demo: Path) -> None:
    """The base install: a .qbnn runs, and the compiler is asked for by name."""
    script = (
        "import sys, importlib.util as u\n"
        "real = u.find_spec\n"
        "gone = ('torch', 'onnx', 'onnx_ir', 'onnxscript', 'onnxruntime')\n"
        "u.find_spec = lambda n, *a: None if n in gone else real(n, *a)\n"
        "for n in gone: sys.modules[n] = None\n"
        "from qbnnc.cli.main import main\n"
        "main()\n"
    )
    arguments = ["--input", str(demo / "fashion.npz") + ":x", "-q"]
    ran = subprocess.run(
        [sys.executable, "-c", script, "run", str(artefacts / "lenet.qbnn"), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    for extra, command in (
        ("onnx", ["run", str(artefacts / "lenet.onnx"), *arguments]),
        ("onnx", ["verify", str(artefacts / "lenet.onnx"), *arguments]),
        ("compile", ["compile", str(demo / "lenet_mcd.pt"), "-o", "x.qbnn"]),
    ):
        missing = subprocess.run(
            [sys.executable, "-c", script, *command], capture_output=True, text=True, check=False
        )
        assert missing.returncode == 2
        assert f"pip install 'qbnnc[{extra}]'" in missing.stderr
    inspected = [sys.executable, "-c", script, "inspect", str(artefacts / "lenet.onnx")]
    assert subprocess.run(inspected, capture_output=True, check=False).returncode == 0


@pytest.mark.few(0)
def test_running_an_onnx_needs_onnxruntime_alone(artefacts: Path, demo: Path) -> None:
    """With click and numpy: a small computer has neither numba nor a compiler."""
    script = (
        "import sys, importlib.util as u\n"
        "real = u.find_spec\n"
        "gone = ('torch', 'onnx', 'onnx_ir', 'onnxscript', 'numba', 'llvmlite', 'safetensors')\n"
        "u.find_spec = lambda n, *a: None if n in gone else real(n, *a)\n"
        "for n in gone: sys.modules[n] = None\n"
        "from qbnnc.cli.main import main\n"
        "main()\n"
    )
    arguments = ["--input", str(demo / "fashion.npz") + ":x", "-q"]
    for command in ("run", "verify"):
        ran = subprocess.run(
            [sys.executable, "-c", script, command, str(artefacts / "lenet.onnx"), *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (ran.returncode, ran.stderr) == (0, "")


def test_the_digest_is_the_models(artefacts: Path) -> None:
    assert len(format.digest(format.load(artefacts / "lenet.qbnn"))) == 64
