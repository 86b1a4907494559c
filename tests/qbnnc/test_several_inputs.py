"""Networks of several inputs on the command line, in saved programs and in C."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import qbnnc
from qbnnc.backends.c import golden_program, to_c
from qbnnc.backends.c.arguments import argument_names
from qbnnc.backends.c.project import project
from qbnnc.ir import format
from qbnnc.ir.oracle import oracle_prediction
from qbnnc.runtime import load
from qbnnc.support.errors import UserError
from qbnnc.support.several_inputs import Entry
from tests.commands import Runner, npz
from tests.several_inputs import Counts, ImageAndFeatures, arrays, trained
from tests.strategies import input_batch, random_integer_model

PAIR = ("image", "features")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """net.pt, its inputs in several files, and what is compiled of it."""
    folder, known = tmp_path_factory.mktemp("several"), arrays()
    pair = {name: known[name] for name in PAIR}
    example = tuple(torch.from_numpy(array[:4]) for array in pair.values())
    module = trained(ImageAndFeatures)
    qbnnc.save(module, folder / "net.pt", example, distribution_check=None)
    np.savez(folder / "x.npz", **pair)  # type: ignore[arg-type]
    np.save(folder / "features.npy", pair["features"])
    torch.save(module.state_dict(), folder / "weights.pt")
    options = {"samples": 4, "distribution_check": None, "spread_check": False}
    qbnnc.compile(
        folder / "net.pt",
        [folder / "a.onnx", folder / "a.qbnn"],
        calibration=pair,
        calibration_passes=1,
        **options,  # type: ignore[arg-type]
    )
    return folder


COMPILE = ("compile", "--samples", 4, "--calibration-passes", 1, "--no-distribution-check", "-q")


@pytest.mark.parametrize(
    "calib",
    [
        ("--calib", "image=x.npz:image", "--calib", "features=features.npy"),
        ("--calib", "features=features.npy", "--calib", "image=x.npz:image"),
        ("--calib", "x.npz:image,features"),
    ],
)
def test_compile_from_files(qbnnc_command: Runner, files: Path, calib: tuple[str, ...]) -> None:
    qbnnc_command.monkeypatch.chdir(files)
    made = qbnnc_command(*COMPILE, "net.pt", *calib, "-o", "b.qbnn", "--no-spread-check")
    assert (made.code, made.err) == (0, "")
    assert format.digest(format.load("b.qbnn")) == format.digest(format.load("a.qbnn"))


@pytest.mark.slow
def test_compile_weights_with_their_code(qbnnc_command: Runner, files: Path) -> None:
    qbnnc_command.monkeypatch.chdir(files)
    model = ("--model", "tests.several_inputs:ImageAndFeatures", "--dropout", "active")
    made = qbnnc_command(
        *COMPILE, "weights.pt", *model, "--calib", "x.npz:image,features", "-o", "w.qbnn"
    )
    assert made.code == 0, made.err
    assert [entry.name for entry in format.load("w.qbnn").inputs] == [*PAIR]


def test_run_verify_bench_golden_and_inspect(qbnnc_command: Runner, files: Path) -> None:
    qbnnc_command.monkeypatch.chdir(files)
    wanted = load("a.qbnn").predict({n: arrays()[n] for n in PAIR}, seed=3)
    for given in (
        ("--input", "x.npz"),
        ("--input", "x.npz:image,features"),
        ("--input", "features=features.npy", "--input", "image=x.npz:image"),
    ):
        for artefact in ("a.onnx", "a.qbnn"):
            ran = qbnnc_command("run", artefact, *given, "--seed", 3, "-o", "p.npz")
            assert ran.code == 0, ran.err
            assert (npz("p.npz")["samples"] == wanted["samples"]).all()
    checked = qbnnc_command("verify", "a.onnx", "a.qbnn", "--input", "x.npz")
    assert checked.code == 0
    assert checked.out.count("equal") == 2
    assert qbnnc_command("golden", "a.qbnn", "--input", "x.npz", "-o", "g.npz").code == 0
    assert qbnnc_command("verify", "a.onnx", "--golden", "g.npz").code == 0
    timed = qbnnc_command("bench", "a.qbnn", "--input", "x.npz", "--batch", 2, "--seconds", 0.01)
    assert timed.code == 0
    for artefact in ("a.onnx", "a.qbnn"):
        seen = qbnnc_command("inspect", artefact)
        assert seen.code == 0
        assert "image [batch, 1, 3, 3]" in seen.words
        assert "features [batch, 3]" in seen.words
        assert max(map(len, seen.out.splitlines())) <= 80


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("run", "a.qbnn", "--input", "features.npy"), "one array [100, 3], and the network takes"),
        (("run", "a.qbnn", "--input", "image=x.npz:image"), "'features' is missing"),
        (
            ("run", "a.qbnn", "--input", "x.npz", "--input", "features=features.npy"),
            "given several times, each for one input; name each: --input NAME=FILE",
        ),
        (
            ("run", "a.qbnn", "--input", "a=x.npz:image", "--input", "a=features.npy"),
            "two arrays for one input; give each name once",
        ),
        (
            ("run", "a.qbnn", "--input", "image=x.npz:image", "--input", "f=features.npy"),
            "no input is called 'f'; the network takes image [batch, 1, 3, 3] and features",
        ),
        (
            ("run", "a.qbnn", "--input", "i=x.npz:image", "--input", "f=f.npy", "-o", "p.csv"),
            "several files, and a file that is predicted in chunks is one",
        ),
        (("verify", "a.qbnn", "--input", "x.npz:image"), "one array [100, 1, 3, 3], and the"),
        (
            ("compile", "net.pt", "--calib", "x.npz", "-o", "c.qbnn"),
            "or x.npz:image,features for several",
        ),
    ],
)
def test_what_is_refused(
    qbnnc_command: Runner, files: Path, arguments: tuple[str, ...], told: str
) -> None:
    qbnnc_command.monkeypatch.chdir(files)
    made = qbnnc_command(*arguments)
    assert made.code == 2
    assert told in " ".join(made.err.split())
    assert not Path("c.qbnn").exists()


@pytest.mark.slow
def test_saved_models_hold_the_inputs(tmp_path: Path) -> None:
    known = arrays()
    example = {name: torch.from_numpy(known[name]) for name in ("age", "counts")}
    module = trained(Counts)
    for name in ("net.pt", "net.qbnn"):
        qbnnc.save(module, tmp_path / name, example, calibration=example, distribution_check=None)
        made = qbnnc.compile(
            tmp_path / name, tmp_path / "b.qbnn", samples=2, spread_check=False,
            distribution_check=None,
        )  # fmt: skip
        assert [(e.name, e.shape) for e in made.inputs] == [("counts", (3,)), ("age", ())]
        found = load(made).predict({name: array.numpy() for name, array in example.items()})
        assert list(found)[:2] == ["samples_logits", "samples_score"]


@pytest.mark.slow
def test_verify_against_the_module(tmp_path: Path) -> None:
    """The rows may be given by name, or one after another, as an artefact takes them."""
    known, module = arrays(), trained(Counts)
    pair = {name: known[name] for name in ("counts", "age")}
    qbnnc.compile(
        module, tmp_path / "a.qbnn", calibration=pair, distribution_check=None, spread_check=False
    )
    found = qbnnc.verify(tmp_path / "a.qbnn", pair, module, samples=200)
    assert found.rows == 100
    assert all(each.deviation_ratio is not None for each in found.agreements)


def test_a_pointer_for_each_input() -> None:
    source = to_c(random_integer_model(4, ops="parts"), "net")
    names = "const float *in0, const float *in1, const float *in2"
    assert f"int net_begin(net_state *st, {names}, uint64_t seed, uint64_t row);" in source.header
    assert "#define NET_INPUT_IN1 12 /* [3, 2, 2] */" in source.header


def test_names_that_c_takes() -> None:
    names = ("x", "int", "seed", "a.b", "a_b", "A_b", "2d", "µ", "out1")
    entries = tuple(Entry(name, (1,), place) for place, name in enumerate(names))
    assert argument_names(entries) == (
        "x_in", "int_in", "seed_in", "a_b", "a_b_in", "A_b_in_in", "input_2d", "input", "out1_in",
    )  # fmt: skip


def test_an_input_that_is_called_as_an_option(tmp_path: Path) -> None:
    """The file's own input `seed` keeps its name; predictions take the user's."""

    class Seeded(ImageAndFeatures):
        def forward(self, seed: torch.Tensor, mean: torch.Tensor) -> torch.Tensor:
            return super().forward(seed, mean)

    known = {"seed": arrays()["image"], "mean": arrays()["features"]}
    torch.manual_seed(0)
    model = qbnnc.compile(
        Seeded().train(), tmp_path / "a.onnx", calibration=known, samples=2,
        distribution_check=None, spread_check=False,
    )  # fmt: skip
    from qbnnc.loading.artefacts import open_artefact

    file = open_artefact(tmp_path / "a.onnx")
    assert (file.predict(known)["samples"] == load(model).predict(known)["samples"]).all()


def test_packed_rows_are_told_apart(files: Path) -> None:
    session = load(files / "a.qbnn")
    with pytest.raises(UserError, match="one array"):
        session.predict(arrays()["image"])
    assert repr(session).startswith("Session(MC dropout, input image [batch, 1, 3, 3] and features")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_a_project_for_firmware(tmp_path: Path) -> None:
    """Its examples in C and in Python take a row, and pass on the inputs in it."""
    model = random_integer_model(4, ops="parts")
    source, x = to_c(model, "net"), input_batch(model, 2)
    for name, data in project(model, source, golden_program(model, "net")).items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    (tmp_path / "rows.f32").write_bytes(x.tobytes())

    def run(command: str) -> str:
        words = shlex.split(command)
        made = subprocess.run(words, cwd=tmp_path, check=True, capture_output=True, text=True)
        return made.stdout

    run("cc -std=c99 -Wall -Wextra -Werror -Isrc -o main examples/host/main.c src/net.c -lm")
    assert run("./main").startswith("mean")
    run("cc -std=c99 -shared -fPIC -Isrc -o libnet.so src/net.c -lm")
    said = run(f"{shlex.quote(sys.executable)} examples/python/predict.py ./libnet.so rows.f32")
    wanted = oracle_prediction(model, x, samples=model.samples)["mean"].reshape(2, -1)
    means = [line.split()[1:] for line in said.splitlines() if line.startswith("mean")]
    assert np.allclose(np.array(means, np.float64), wanted, rtol=1e-5, atol=1e-4)
