"""Compiling gives the same file with any number of threads, and with the BLAS of any CPU."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BITS = ("w8a7", "w4a4")
# The distribution check leaves no measured value in a file.
PROGRAM = f"""
import sys
import numpy as np
import qbnnc

for bits in {BITS}:
    qbnnc.compile(
        "tools/demo/lenet_mcd.pt",
        [f"{{sys.argv[1]}}/{{bits}}.qbnn", f"{{sys.argv[1]}}/{{bits}}.onnx"],
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


def compiled(folder: Path, settings: Mapping[str, str]) -> dict[str, str]:
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
    command = [sys.executable, "-c", PROGRAM, str(folder)]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.mark.slow
def test_the_same_files(tmp_path: Path) -> None:
    first = compiled(tmp_path / "first", ONE)
    assert set(first) == {f"{bits}.{kind}" for bits in BITS for kind in ("qbnn", "onnx")}
    assert compiled(tmp_path / "second", ANOTHER) == first
