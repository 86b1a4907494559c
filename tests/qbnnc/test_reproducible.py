"""Compiling gives the same file with any number of threads, and with the BLAS of any CPU."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.examples import nightly_but

ROOT = Path(__file__).parents[2]
# The distribution check leaves no measured value in a file.
PROGRAM = """
import sys
import numpy as np
import qbnnc

folder, bits = sys.argv[1:]
qbnnc.compile(
    "tools/demo/lenet_mcd.pt",
    [f"{folder}/lenet.qbnn", f"{folder}/lenet.onnx"],
    model="tools.models:LeNet_MCD",
    calibration=np.load("tools/demo/fashion.npz")["calib"][:128],
    bits=bits,
    task="classification",
    distribution_check=None,
)
"""
# OpenBLAS takes the kernels of the CPU that is named; other libraries ignore this.
ONE: Mapping[str, str] = {"OPENBLAS_CORETYPE": "Haswell", "threads": "1"}
ANOTHER: Mapping[str, str] = {"OPENBLAS_CORETYPE": "Nehalem", "threads": "2"}


def compiled(folder: Path, bits: str, settings: Mapping[str, str]) -> dict[str, str]:
    """Compile the demo network in a process of its own; return a digest of each file."""
    folder.mkdir()
    threads = settings["threads"]
    environment = {
        **os.environ,
        **{key: value for key, value in settings.items() if key != "threads"},
        "OPENBLAS_NUM_THREADS": threads,
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
    }
    command = [sys.executable, "-c", PROGRAM, str(folder), bits]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.mark.parametrize("bits", nightly_but(["w4a4"], ["w8a7", "w4a4"]))
def test_the_same_files(bits: str, tmp_path: Path) -> None:
    first = compiled(tmp_path / "first", bits, ONE)
    assert set(first) == {"lenet.qbnn", "lenet.onnx"}
    assert compiled(tmp_path / "second", bits, ANOTHER) == first
