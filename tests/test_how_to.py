"""The blocks of the how-to pages about Python, pasted; a small network is the quick start's."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from socket import socket

import click
import numpy as np
import pytest
import torch
from torch import nn

import qbnnc
from qbnnc.cli.main import cli

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
RUN = re.compile(r"^qbnnc .*$", re.MULTILINE)


def blocks(page: str, language: str) -> list[str]:
    text = (ROOT / "docs" / "how-to" / page).read_text(encoding="utf-8")
    found = BLOCK.findall(text)
    assert {kind for kind, _ in found} <= {"python", "sh", "yaml"}
    return [block for kind, block in found if kind == language]


@pytest.fixture(scope="module")
def quick_start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the README's quick start, but smaller: model.pt, .qbnn, .onnx and data.npz."""
    folder = tmp_path_factory.mktemp("quick")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        x = torch.randn(512, 4)
        y = x.sum(dim=1, keepdim=True) + 0.1 * torch.randn(512, 1)
        layers = nn.Linear(4, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 2)
        net = nn.Sequential(*layers)
        optimiser = torch.optim.Adam(net.parameters(), 1e-2)
        for _ in range(200):
            mean, log_var = net(x).chunk(2, dim=1)
            optimiser.zero_grad()
            nn.functional.gaussian_nll_loss(mean, y, log_var.exp()).backward()
            optimiser.step()
        qbnnc.compile(
            net,
            [folder / "model.qbnn", folder / "model.onnx"],
            calibration=x.numpy(),
            output_names="mean,log_var",
            task="regression",
            distribution_check=None,
            spread_check=False,
        )
        qbnnc.save(net, folder / "model.pt", (x[:2],), calibration=x, output_names="mean,log_var")
    np.savez(folder / "data.npz", x=x.numpy(), y=y.numpy())
    return folder


@pytest.fixture
def folder(quick_start: Path, tmp_path: Path) -> Path:
    """A copy, in which the distribution for .onnx files lies too."""
    for file in quick_start.iterdir():
        shutil.copy(file, tmp_path)
    (tmp_path / "qbnnc_onnx").symlink_to(ROOT / "tools" / "qbnnc_onnx")
    return tmp_path


def paste(command: list[str], text: str, folder: Path) -> str:
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    pasted = subprocess.run(
        command, input=text, cwd=folder, env=os.environ | {"PATH": path}, text=True,
        capture_output=True,
    )  # fmt: skip
    assert pasted.returncode == 0, pasted.stdout[-2000:] + pasted.stderr[-2000:]
    return pasted.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "count", "needs"),
    [
        ("ensembles.md", 3, "torch"),
        ("predict.md", 8, "pandas"),
        ("tokens.md", 3, "torch"),
        ("scikit-learn.md", 4, "sklearn"),
        pytest.param("lightning.md", 1, "pytorch_lightning", marks=pytest.mark.nightly),
    ],
)
def test_python_works_when_pasted(page: str, count: int, needs: str, folder: Path) -> None:
    if find_spec(needs) is None:
        pytest.skip(f"needs {needs}")
    found = blocks(page, "python")
    assert len(found) == count
    assert blocks(page, "sh") == []
    paste([sys.executable, "-"], "\n".join(found), folder)


@pytest.mark.slow
def test_several_inputs_work_when_pasted(tmp_path: Path) -> None:
    python, shell = (blocks("several-inputs.md", kind) for kind in ("python", "sh"))
    assert (len(python), len(shell)) == (3, 1)
    assert "Entry(name='features'" in paste([sys.executable, "-"], "\n".join(python), tmp_path)
    said = paste(["bash", "-euo", "pipefail"], shell[0], tmp_path)
    assert said.count(" equal\n") == 2
    header = (tmp_path / "net.h").read_text()
    assert "const float *image, const float *features, uint64_t seed" in header


@pytest.mark.slow
def test_ci_works_when_pasted(folder: Path) -> None:
    shell = blocks("ci.md", "sh")
    assert len(shell) == 3
    assert blocks("ci.md", "python") == []
    said = paste(["bash", "-euo", "pipefail"], "\n".join(shell), folder)
    assert "3 passed" in said
    recipe = (folder / "test_network.py").read_text().splitlines()
    assert len(recipe) <= 20


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_serving_works_when_pasted(folder: Path) -> None:
    """The service starts, answers and ends; its port is one that is free."""
    (folder / "tools").symlink_to(ROOT / "tools")
    text = (ROOT / "docs" / "how-to" / "serving.md").read_text(encoding="utf-8")
    found = BLOCK.findall(text)
    assert [kind for kind, _ in found] == ["sh", "python", "sh", "sh", "sh"]
    script = "\n".join(
        f"python - <<'EOF'\n{block}EOF\n" if kind == "python" else block for kind, block in found
    )
    with socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    said = paste(["bash", "-euo", "pipefail"], script.replace("8000", port), folder)
    assert '"input_shape":[4]' in said
    assert '{"seed":7,"ids":[12],"mean":[[' in said
    assert said.count(" equal\n") == 2
    assert (folder / "model_repository" / "network" / "1" / "model.onnx").is_file()


def test_the_action_is_yaml_whose_commands_exist() -> None:
    yaml = pytest.importorskip("yaml")
    (text,) = blocks("ci.md", "yaml")
    action = yaml.safe_load(text)
    (job,) = action["jobs"].values()
    runs = [step["run"] for step in job["steps"] if "run" in step]
    assert set(runs[0].split()[:2]) == {"pip", "install"}
    named = [line for run in runs for line in RUN.findall(run)]
    assert len(named) == 3
    for line in named:
        _, name, *arguments = shlex.split(line)
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        command.make_context(name, arguments)  # raises UsageError
    assert all(re.fullmatch(r"[\w/-]+@v\d+", s["uses"]) for s in job["steps"] if "uses" in s)
