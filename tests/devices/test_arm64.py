"""The runtime on an emulated aarch64: the oracle's samples, bit for bit, by each of its kernels.

`make devices` makes the Python that qemu runs. Tests are skipped by the name of what is missing.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import qbnnc
from qbnnc.ir.format import save
from qbnnc.ir.model import Model
from qbnnc.ir.oracle import oracle_samples
from qbnnc.ir.types import Array
from qbnnc.passes.options import Bits
from qbnnc.runtime.isa import Isa
from tests.devices import arm64_predict
from tests.devices.arm64_predict import FIRST_ROW, FORMS, SAMPLES, SEED
from tests.devices.networks import mlps, small_lenet
from tools.devices.arm64 import Arm64, NotMadeError

PACKAGES = Path(qbnnc.__path__[0]).parent
ROWS = 3
# An instruction set that the runtime finds on qemu's CPU: the second one has no sdot.
CPUS = {Isa.NEON_DOT: "max", Isa.GENERIC: "cortex-a53"}
# An operation of each form, if a network has layers of that form.
MARKS = {"direct": "select", "table": "masked_sums", "recompute": "masked_products"}


@pytest.mark.nightly
@pytest.mark.parametrize("isa", CPUS, ids=lambda isa: isa.value)
def test_the_runtime_on_aarch64(tmp_path: Path, isa: Isa) -> None:
    """Layers under masks in all of their forms, sampled weights, and convolutions."""
    python = Arm64()
    if trouble := python.trouble:
        pytest.skip(f"aarch64-python {trouble}; `make devices` makes it")
    bits = Bits.parse("w8a7")
    models = {**mlps("mcd", [bits]), **mlps("bbb", [bits]), "lenet": small_lenet(bits)}
    rows = {name: _rows(tmp_path, name, model) for name, model in models.items()}
    said = _predict(python, CPUS[isa], tmp_path)
    assert said[0] == f"aarch64 {isa.value}"
    operations = {tuple(line.split()[:2]): line.split()[2:] for line in said[1:]}
    assert operations.keys() == {(name, form) for name in models for form in FORMS}
    for form, mark in MARKS.items():
        assert mark in operations["lenet", form]
    for name, model in models.items():
        want = oracle_samples(model, rows[name], samples=SAMPLES, seed=SEED, first_row=FIRST_ROW)
        for form in FORMS:
            _check_equal(tmp_path, f"{name}-{form}", want)


def _rows(folder: Path, name: str, model: Model) -> NDArray[np.float32]:
    """Write a model and rows for it; return the rows."""
    shape = (ROWS, *model.graph.input.type.shape)
    rows = np.random.default_rng(5).standard_normal(shape, np.float32)
    save(model, folder / f"{name}.qbnn")
    np.save(folder / f"{name}.npy", rows)
    return rows


def _predict(python: Arm64, cpu: str, folder: Path) -> list[str]:
    """Run the program on all models of the folder; return the lines that it prints."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "XDG_CACHE_HOME": str(python.kernels),
        "PYTHONPATH": f"{python.site}{os.pathsep}{PACKAGES}",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    program = arm64_predict.__file__
    done = subprocess.run(
        [*python.command(cpu), program, str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=4 * 3600,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def _check_equal(folder: Path, name: str, want: tuple[Array, ...]) -> None:
    """Expect the bits of each output."""
    for number, expected in enumerate(want):
        made = np.load(folder / f"{name}-{number}.npy")
        assert made.dtype == expected.dtype == np.float32
        assert np.unique(expected).size > SAMPLES  # samples and rows differ
        got = made.view(np.uint32)
        np.testing.assert_array_equal(got, expected.view(np.uint32), f"{name}, output {number}")


def test_a_folder_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _programs(tmp_path / "bin", monkeypatch, **{"qemu-aarch64": ""})
    assert Arm64(tmp_path / "arm64").trouble == f"needs {tmp_path / 'arm64'}"


def test_other_versions_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _programs(tmp_path / "bin", monkeypatch, **{"qemu-aarch64": ""})
    (tmp_path / "versions.txt").write_text("numpy==0.0.1\n")
    assert Arm64(tmp_path).trouble.startswith("has other versions")


def test_a_tool_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _programs(tmp_path / "bin", monkeypatch, **{"apt-get": ""})
    assert Arm64(tmp_path / "arm64").trouble == "needs qemu-aarch64"
    with pytest.raises(NotMadeError, match="needs dpkg-deb"):
        Arm64(tmp_path / "arm64").make()


def test_a_download_that_fails_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old folder stays, and nothing half-made does."""
    complaint = "echo 'E: no network' >&2; exit 100"
    _programs(tmp_path / "bin", monkeypatch, **{"apt-get": complaint, "dpkg-deb": ""})
    folder = tmp_path / "devices" / "arm64"
    folder.mkdir(parents=True)
    (folder / "versions.txt").write_text("old")
    with pytest.raises(NotMadeError, match="lacks Debian's packages for arm64: E: no network"):
        Arm64(folder).make()
    assert [str(p.relative_to(folder.parent)) for p in folder.parent.rglob("*")] == [
        "arm64",
        "arm64/versions.txt",
    ]


def _programs(folder: Path, monkeypatch: pytest.MonkeyPatch, **scripts: str) -> None:
    """Have these programs in PATH, and no others."""
    folder.mkdir()
    for name, script in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
