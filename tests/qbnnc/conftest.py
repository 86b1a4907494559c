"""A folder with the demo in it, and compiled artefacts that tests share."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import qbnnc
from tests.conftest import DATA, DEMO
from tests.qbnnc.commands import Runner


@pytest.fixture(scope="session")
def artefacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """lenet.onnx, lenet.qbnn (MC dropout), mlp.onnx, mlp.qbnn (MC dropout, regression)."""
    folder = tmp_path_factory.mktemp("artefacts")
    with np.load(DEMO / "fashion.npz") as fashion, np.load(DATA / "diabetes.npz") as diabetes:
        qbnnc.compile(
            DEMO / "lenet_mcd.pt",
            [folder / "lenet.onnx", folder / "lenet.qbnn"],
            model="models:LeNet_MCD",
            calibration=fashion["calib"],
            task="classification",
            calibration_passes=2,
        )
        qbnnc.compile(
            DATA / "mlp_mcd.pt",
            [folder / "mlp.onnx", folder / "mlp.qbnn"],
            model="models:MLP_MCD",
            model_args={"in_features": 10},
            calibration=diabetes["x_train"],
            task="regression",
            calibration_passes=2,
        )
    return folder


@pytest.fixture
def qbnnc_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Runner:
    """`qbnnc ...` in a folder that holds the demo's files."""
    for file in DEMO.iterdir():
        if file.is_file():
            shutil.copy(file, tmp_path)
    return Runner(tmp_path, monkeypatch, capsys)
