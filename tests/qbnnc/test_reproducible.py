"""Compiling gives the same file with any number of threads, and with the BLAS of any CPU."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
# OpenBLAS takes the kernels of the CPU that is named; other libraries ignore this.
ONE: Mapping[str, str] = {"OPENBLAS_CORETYPE": "Haswell", "threads": "1"}
ANOTHER: Mapping[str, str] = {"OPENBLAS_CORETYPE": "Nehalem", "threads": "2"}


def compiled(folder: Path, settings: Mapping[str, str], bits: str) -> dict[str, str]:
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
    command = [
        *(sys.executable, "-c", "from qbnnc.cli.main import main; raise SystemExit(main())"),
        *("compile", "tools/demo/lenet_mcd.pt"),
        *("--model", "tools.models:LeNet_MCD", "--calib", "tools/demo/fashion.npz:calib"),
        *("--bits", bits, "--task", "classification"),
        *("-o", str(folder / "lenet.qbnn"), "-o", str(folder / "lenet.onnx")),
    ]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.mark.parametrize("bits", ["w8a7", "w4a4"])
def test_the_same_file(tmp_path: Path, bits: str) -> None:
    first = compiled(tmp_path / "first", ONE, bits)
    assert set(first) == {"lenet.qbnn", "lenet.onnx"}
    assert compiled(tmp_path / "second", ANOTHER, bits) == first
