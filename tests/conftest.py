"""Fixtures that many tests share: the bundled networks and data.

The classes of the networks are in tools/models. Torch is imported
where a network is made: the runtime's tests run without it.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import settings

from tests.examples import MANY, QUICK, USUAL, few_of_each

if TYPE_CHECKING:
    from torch import nn

    from tests.commands import Runner
    from tools.models import MLP, MLP_MCD, LeNet, LeNet_MCD

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "tools" / "demo"
DATA = ROOT / "tests" / "data"
M = TypeVar("M", bound="nn.Module")

# No deadline: the first example of a test may compile a kernel. The same examples every time.
settings.register_profile(
    "qbnnc", deadline=None, derandomize=True, database=None, max_examples=USUAL
)
settings.register_profile("quick", settings.get_profile("qbnnc"), max_examples=QUICK)
settings.register_profile("all", settings.get_profile("qbnnc"), max_examples=MANY)
# For tests that run once more, with another instruction set or between guard pages.
settings.register_profile("again", settings.get_profile("qbnnc"), max_examples=30)
settings.load_profile("qbnnc")


def pytest_addoption(parser: pytest.Parser) -> None:
    quick = "few examples of each property, and of a family marked `few` as many cases as it says"
    parser.addoption("--quick", action="store_true", help=quick)
    every = "all examples of each property, and all cases of a family that is marked `sample`"
    parser.addoption("--all", action="store_true", help=every)


def pytest_configure(config: pytest.Config) -> None:
    """Test processes run side by side: one thread of OpenMP each, which they inherit."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    for profile in ("quick", "all"):
        if config.getoption(profile):
            settings.load_profile(profile)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out cases of the families that are marked `sample`, and with --quick `few`."""
    marks = [] if config.getoption("all") else ["sample"]
    marks += ["few"] if config.getoption("quick") else []
    for mark in marks:
        kept = few_of_each(items, mark)
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = [item for item in items if item in kept]


def trained(model: M, file: Path) -> M:
    """`model` with the weights of `file`, in eval mode."""
    import torch

    model.load_state_dict(torch.load(file, weights_only=True))
    model.eval()
    return model


@pytest.fixture(scope="session")
def demo() -> Path:
    """The folder of the bundled demo: lenet_mcd.pt, fashion.npz."""
    return DEMO


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of the other networks and data: lenet.pt, mlp.pt, mlp_mcd.pt, diabetes.npz."""
    return DATA


@pytest.fixture(scope="session")
def fashion() -> dict[str, npt.NDArray[np.uint8]]:
    """Raw pixels: calib (256, 1, 28, 28), x (200, ...), labels y (200,), ood (100, ...) digits."""
    with np.load(DEMO / "fashion.npz") as archive:
        return dict(archive)


@pytest.fixture(scope="session")
def diabetes() -> dict[str, npt.NDArray[np.float32]]:
    """Standardised x_train (352, 10), y_train (352, 1), x_test (90, 10), y_test (90, 1)."""
    with np.load(DATA / "diabetes.npz") as archive:
        return dict(archive)


@pytest.fixture
def lenet_mcd() -> LeNet_MCD:
    """Garment classifier, Monte-Carlo dropout; takes raw pixels 0..255."""
    from tools.models import LeNet_MCD

    return trained(LeNet_MCD(), DEMO / "lenet_mcd.pt")


@pytest.fixture
def lenet() -> LeNet:
    """The pointwise twin of `lenet_mcd`; takes pixels scaled to 0..1."""
    from tools.models import LeNet

    return trained(LeNet(), DATA / "lenet.pt")


@pytest.fixture
def mlp_mcd() -> MLP_MCD:
    """Diabetes regression (mean, log variance), Monte-Carlo dropout."""
    from tools.models import MLP_MCD

    return trained(MLP_MCD(10), DATA / "mlp_mcd.pt")


@pytest.fixture
def mlp() -> MLP:
    """The pointwise twin of `mlp_mcd`."""
    from tools.models import MLP

    return trained(MLP(10), DATA / "mlp.pt")


@pytest.fixture(scope="session")
def artefacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """lenet.onnx, lenet.qbnn (MC dropout), mlp.onnx, mlp.qbnn (MC dropout, regression).

    The demo network is compiled with a distribution check in tests/qbnnc/test_commands.py. Kernels
    are there too: commands would tell on stderr that they compile them.
    """
    import qbnnc
    from qbnnc.runtime.cache import kernels

    kernels()
    folder = tmp_path_factory.mktemp("artefacts")
    with np.load(DEMO / "fashion.npz") as fashion, np.load(DATA / "diabetes.npz") as diabetes:
        qbnnc.compile(
            DEMO / "lenet_mcd.pt",
            [folder / "lenet.onnx", folder / "lenet.qbnn"],
            model="tools.models:LeNet_MCD",
            calibration=fashion["calib"],
            task="classification",
            calibration_passes=2,
            distribution_check=None,
        )
        qbnnc.compile(
            DATA / "mlp_mcd.pt",
            [folder / "mlp.onnx", folder / "mlp.qbnn"],
            model="tools.models:MLP_MCD",
            model_args={"in_features": 10},
            calibration=diabetes["x_train"],
            task="regression",
            calibration_passes=2,
            distribution_check=None,
        )
    return folder


@pytest.fixture
def qbnnc_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Runner:
    """`qbnnc ...` in a folder that holds the demo's files, and tools/models."""
    from tests.commands import Runner

    for file in DEMO.iterdir():
        if file.is_file():
            shutil.copy(file, tmp_path)
    shutil.copytree(ROOT / "tools" / "models", tmp_path / "tools" / "models")
    return Runner(tmp_path, monkeypatch, capsys)
