"""Files of trained networks: what is in them, what is skipped, what is refused."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from qbnnc.study.paper import train_networks
from qbnnc.study.paper.training import recipes
from qbnnc.study.paper.training.jobs import Job, jobs, run
from qbnnc.study.paper.training.recipes import METHODS, Recipe
from qbnnc.support.errors import UserError

SCALE = 0.001


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with a boston_split.npz of 30 rows and images, four of each kind."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 13)), rng.normal(size=(30, 1))
    moments = {"x_mean": np.zeros(13), "x_std": np.ones(13)}
    moments |= {"y_mean": np.array(22.0), "y_std": np.array(9.0)}
    parts = {"x_train": x[:20], "x_test": x[20:], "y_train": y[:20], "y_test": y[20:]}
    folder = tmp_path / "data"
    folder.mkdir()
    np.savez(folder / "boston_split.npz", allow_pickle=False, **parts, **moments)
    pixels, labels = rng.integers(0, 256, (4, 28, 28), np.uint8), np.arange(4, dtype=np.uint8)
    for name in ("fmnist_train12k", "fmnist_test", "mnist5k"):
        np.savez(folder / f"{name}.npz", X=pixels, y=labels)
    return folder


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("network", ["lenet", "boston"])
def test_a_network_is_written_and_then_skipped(
    network: str, method: str, data: Path, out: Path
) -> None:
    job = Job(network, method, None if network == "lenet" else 1)
    assert run(job, data, out, SCALE).startswith(f"{job.name}: ")
    file = out / f"{job.name}.pt"
    saved = file.read_bytes()
    loaded = torch.load(file, weights_only=True)
    members = loaded if isinstance(loaded, list) else [loaded]
    assert len(members) == (20 if method == "sghmc" else 1)
    for weights in members:
        job.module(13).load_state_dict(weights)
        assert all(value.is_contiguous() for value in weights.values())
    assert run(job, data, out, SCALE) == f"{job.name}: is there"
    assert file.read_bytes() == saved
    assert sorted(p.name for p in out.iterdir()) == sorted([file.name, f"{job.data_name}.npz"])


def test_the_seed_is_the_name(data: Path, tmp_path: Path) -> None:
    job = Job("boston", "mcd", 0)
    files: list[dict[str, torch.Tensor]] = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        torch.rand(len(files))  # what was drawn before does not matter
        run(job, data, tmp_path / name, SCALE)
        files.append(torch.load(tmp_path / name / f"{job.name}.pt", weights_only=True))
    assert all(torch.equal(value, files[1][key]) for key, value in files[0].items())


def test_other_folds_are_not_mixed(data: Path, out: Path) -> None:
    run(Job("boston", "pointwise", 0, folds=3), data, out, SCALE)
    with pytest.raises(UserError, match=r"boston_fold0\.npz: x_train differs .* empty folder"):
        run(Job("boston", "mcd", 0, folds=4), data, out, SCALE)
    assert not (out / "boston_mcd_fold0.pt").exists()


def test_weights_that_are_no_numbers_are_not_written(
    data: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(recipes.MLP, "pointwise", Recipe(1, 4, rate=float("inf")))
    with pytest.raises(UserError, match="boston_pointwise_fold0: the training diverged; lower"):
        run(Job("boston", "pointwise", 0), data, out, SCALE)
    assert not list(out.glob("*.pt"))


def test_images_come_first_and_have_no_folds() -> None:
    names = [job.name for job in jobs(["lenet", "concrete"], ["mcd", "bbb"], 2)]
    assert names == [
        "lenet_mcd",
        "lenet_bbb",
        "concrete_mcd_fold0",
        "concrete_bbb_fold0",
        "concrete_mcd_fold1",
        "concrete_bbb_fold1",
    ]


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["train_networks.py", *map(str, arguments)])
    return train_networks.main()


def test_the_command_prints_one_line_a_network(
    data: Path, out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = ("--networks", "boston", "--methods", "mcd", "--folds", "2", "--scale", "0.01")
    assert call(monkeypatch, data, out / "new", *chosen) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("boston_mcd_fold0: RMSE ")
    assert second.startswith("boston_mcd_fold1: RMSE ")


def test_the_command_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, tmp_path, tmp_path / "out", "--networks", "concrete") == 2
    error = capsys.readouterr().err
    assert error.startswith(str(tmp_path / "concrete_split.npz"))
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    "option", [("--folds", "1"), ("--folds", "x"), ("--scale", "0"), ("--scale", "nan")]
)
def test_options_out_of_range(
    option: tuple[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as raised:
        call(monkeypatch, tmp_path, tmp_path, *option)
    assert raised.value.code == 2
    assert f"argument {option[0]}: {option[1]!r} is no" in capsys.readouterr().err
