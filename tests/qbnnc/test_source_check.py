"""`qbnnc verify --source`: an artefact against the module that it was compiled from."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import qbnnc
from qbnnc.ir import format
from qbnnc.loading.sources import SourceOptions
from qbnnc.runtime import load
from qbnnc.support.errors import UserError
from qbnnc.verification.agreement import Limits
from qbnnc.verification.source import SourceComparison
from tests.commands import Runner

ROWS = np.random.default_rng(0).standard_normal((120, 4)).astype(np.float32)


class Net(nn.Module):
    """`ending` of a hidden layer with dropout."""

    def __init__(self, outputs: int = 3, scale: float = 1.0) -> None:
        super().__init__()
        self.hidden, self.last, self.scale = nn.Linear(4, 32), nn.Linear(32, outputs), scale

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(F.dropout(torch.relu(self.hidden(x)), 0.3, True))
        return y * self.scale


class Pair(nn.Module):
    """Two outputs without names, both of which may be negative."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Net(2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.net(x)
        return y[:, :1], y[:, 1:]


def made(net: nn.Module, folder: Path, **options: Any) -> Path:
    path = folder / "net.qbnn"
    qbnnc.compile(net.eval(), path, calibration=ROWS, **options)
    return path


@pytest.mark.parametrize("ending", ["logits", "softmax", "log_softmax", "sigmoid"])
def test_classifiers(ending: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    endings: dict[str, nn.Module] = {
        "logits": nn.Identity(),
        "softmax": nn.Softmax(1),
        "log_softmax": nn.LogSoftmax(1),
        "sigmoid": nn.Sigmoid(),
    }
    net = nn.Sequential(Net(1 if ending == "sigmoid" else 3), endings[ending])
    path = made(net, tmp_path, task="classification")
    (found,) = qbnnc.verify(path, ROWS[:20], net).agreements
    assert found.output == "probabilities"
    assert found.mean_shift is not None
    assert found.mean_shift < 0.1
    assert found.deviation_ratio == pytest.approx(1, abs=0.1)
    assert found.rank_correlation is not None
    assert found.rank_correlation > 0.8
    assert found.divergence is not None
    assert found.divergence < 1e-3


def test_halves_and_other_networks(tmp_path: Path) -> None:
    """[mu, log_var] in one tensor; and a network of twice the spread is not the one compiled."""
    torch.manual_seed(0)
    net = Net(2)
    path = made(net, tmp_path, task="regression", output_names="mean,log_var")
    found = qbnnc.verify(path, ROWS[:20], net)
    assert [one.output for one in found.agreements] == ["samples", "samples_log_var"]
    assert found.called == "module"
    assert found.accepted
    other = Net(2, scale=2.0)
    other.load_state_dict(net.state_dict())
    limits = Limits(deviation_ratio=1.3)
    wrong = qbnnc.verify(path, ROWS[:20], other, limits=limits)
    assert not wrong.accepted
    assert wrong.agreements[0].deviation_ratio == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("names", ["mean,log_var", "log_var,mean"])
def test_halves_that_were_named_in_the_file(names: str, tmp_path: Path) -> None:
    """The names have cut the graph's output in two; the saved program still has one."""
    torch.manual_seed(0)
    net = Net(2)
    saved = tmp_path / "net.pt"
    qbnnc.save(
        net.eval(), saved, (torch.from_numpy(ROWS[:2]),), calibration=ROWS, output_names=names
    )
    qbnnc.compile(saved, tmp_path / "net.qbnn", task="regression")
    found = qbnnc.verify(tmp_path / "net.qbnn", ROWS[:20], saved, samples=400)
    assert [one.output for one in found.agreements] == ["samples", "samples_log_var"]
    for one in found.agreements:
        assert one.mean_shift is not None
        assert one.mean_shift < 0.3
        assert one.deviation_ratio == pytest.approx(1, abs=0.15)


def near(found: SourceComparison) -> bool:
    return all(one.mean_shift is not None and one.mean_shift < 0.3 for one in found.agreements)


@pytest.mark.parametrize("names", ["mean,log_var", "log_var,mean"])
@pytest.mark.parametrize("whole", [True, False], ids=["halves", "pair"])
def test_names_that_only_the_compile_was_told(names: str, whole: bool, tmp_path: Path) -> None:
    """The artefact keeps their order, so that nobody need repeat `output_names`."""
    torch.manual_seed(0)
    net = Net(2) if whole else Pair()
    path = made(net, tmp_path, task="regression", output_names=names)
    found = qbnnc.verify(path, ROWS[:20], net, samples=400)
    assert [one.output for one in found.agreements] == ["samples", "samples_log_var"]
    assert near(found)
    other = SourceOptions.of(output_names=",".join(reversed(names.split(","))))
    assert not near(qbnnc.verify(path, ROWS[:20], net, samples=400, source_options=other))


def test_the_order_of_a_relabelled_artefact(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net, path = Pair(), tmp_path / "named.qbnn"
    raw = made(net, tmp_path, task="raw")
    qbnnc.compile(raw, path, task="regression", output_names="log_var,mean")
    assert near(qbnnc.verify(path, ROWS[:20], net, samples=400))


@pytest.mark.parametrize("first", ["mean,log_var", "log_var,mean"])
@pytest.mark.parametrize("second", ["mean,variance", "variance,mean"])
def test_the_order_of_a_renamed_regression(first: str, second: str, tmp_path: Path) -> None:
    """An artefact has its mean first, and `second` names its outputs as they stand there."""
    torch.manual_seed(0)
    net, path = Pair(), tmp_path / "named.qbnn"
    compiled = made(net, tmp_path, task="regression", output_names=first)
    qbnnc.compile(compiled, path, output_names=second)
    found = qbnnc.verify(path, ROWS[:20], net, samples=400)
    assert [one.output for one in found.agreements] == ["samples", "samples_variance"]
    assert near(found)
    moved = not second.startswith("mean")
    one, other = (load(file).predict(ROWS[:5], seed=7)["samples"] for file in (compiled, path))
    assert np.array_equal(one, other) != moved


class Named(NamedTuple):
    log_var: Tensor
    mean: Tensor


class ByName(Pair):
    """Says itself which output is the mean: the second."""

    def forward(self, x: Tensor) -> Named:
        return Named(*super().forward(x))


@pytest.mark.parametrize("names", ["mean,log_var", "log_var,mean", None])
def test_a_regression_that_becomes_raw_has_the_order_of_the_network(
    names: str | None, tmp_path: Path
) -> None:
    """Its bits and its names are those that a raw compile gives at once."""
    torch.manual_seed(0)
    net = Pair() if names else ByName()
    path = tmp_path / "raw.qbnn"
    compiled = made(net, tmp_path, task="regression", output_names=names)
    qbnnc.compile(compiled, path, task="raw")
    assert near(qbnnc.verify(path, ROWS[:20], net, samples=400))
    at_once = made(net, tmp_path, task="raw", output_names=names)
    one, other = (load(file).predict(ROWS[:5], seed=7) for file in (path, at_once))
    assert [*one] == [*other]
    assert all(np.array_equal(one[name], other[name]) for name in one)
    qbnnc.compile(path, tmp_path / "again.qbnn", task="regression")
    assert near(qbnnc.verify(tmp_path / "again.qbnn", ROWS[:20], net, samples=400))


def test_names_change_no_place_where_no_order_is_recorded(tmp_path: Path) -> None:
    torch.manual_seed(0)
    path = made(Pair(), tmp_path, task="regression")
    qbnnc.compile(path, tmp_path / "named.qbnn", output_names="mean,std")
    assert load(tmp_path / "named.qbnn").model.head.outputs == ("mean", "std")
    (tmp_path / "named.qbnn").unlink()
    with pytest.raises(UserError, match="log_var,mean: compiled already, and it does not record"):
        qbnnc.compile(path, tmp_path / "named.qbnn", output_names="log_var,mean")
    assert not (tmp_path / "named.qbnn").exists()


def test_halves_without_a_recorded_order_are_refused(tmp_path: Path) -> None:
    """Artefacts of an earlier version keep no names."""
    torch.manual_seed(0)
    net = Net(2)
    path = made(net, tmp_path, task="regression", output_names="log_var,mean")
    kept = format.load(path)
    format.save(replace(kept, provenance=replace(kept.provenance, options="")), path)
    with pytest.raises(UserError, match="say `output_names='mean,log_var'`, in the order of the"):
        qbnnc.verify(path, ROWS[:20], net)
    told = SourceOptions.of(output_names="log_var,mean")
    assert near(qbnnc.verify(path, ROWS[:20], net, samples=400, source_options=told))


@pytest.mark.parametrize("names", ["mean,log_var", "log_var,mean"])
@pytest.mark.parametrize("whole", [True, False], ids=["halves", "pair"])
def test_a_float_network_is_evaluated_in_the_recorded_order(
    names: str, whole: bool, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    net = Net(2) if whole else Pair()
    path = made(net, tmp_path, task="regression", output_names=names)
    data = (ROWS, np.zeros((len(ROWS), 1), np.float32))
    compared = qbnnc.evaluate([path, net], data)
    told = qbnnc.evaluate([path, net], data, output_names=names)
    assert compared[1].scores.measures == told[1].scores.measures
    other = qbnnc.evaluate([path, net], data, output_names=",".join(reversed(names.split(","))))
    assert other[1].scores.measures["rmse"] != compared[1].scores.measures["rmse"]


def test_artefacts_that_record_two_orders_decide_nothing(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net, paths = Pair(), [tmp_path / "a.qbnn", tmp_path / "b.qbnn"]
    for path, names in zip(paths, ("mean,log_var", "log_var,mean"), strict=True):
        qbnnc.compile(net, path, calibration=ROWS, task="regression", output_names=names)
    data = (ROWS, np.zeros((len(ROWS), 1), np.float32))
    with pytest.raises(UserError, match="one artefact was compiled with outputs mean,log_var"):
        qbnnc.evaluate([*paths, net], data)


@pytest.mark.slow
def test_an_ensemble_samples_its_members(tmp_path: Path) -> None:
    torch.manual_seed(0)
    nets = [nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1)).eval() for _ in range(3)]
    qbnnc.compile(nets, tmp_path / "e.qbnn", calibration=ROWS)
    found = qbnnc.verify(tmp_path / "e.qbnn", ROWS[:30], nets)
    assert found.samples == 3
    assert found.agreements[0].deviation_ratio == pytest.approx(1, abs=0.05)
    with pytest.raises(UserError, match="`source`: 1 member, and the artefact has 3"):
        qbnnc.verify(tmp_path / "e.qbnn", ROWS, nets[0])


@pytest.mark.slow
def test_on_the_command_line(qbnnc_command: Runner) -> None:
    torch.manual_seed(0)
    net = Net()
    qbnnc.save(net.eval(), "net.pt", (torch.from_numpy(ROWS[:2]),), calibration=ROWS)
    qbnnc.compile("net.pt", ["net.qbnn", "net.onnx"], task="classification")
    np.savez("rows.npz", x=ROWS[:16])
    told = ("--source", "net.pt", "--input", "rows.npz:x")
    for artefact in ("net.qbnn", "net.onnx"):
        result = qbnnc_command("verify", artefact, *told, "--max-divergence", "0.01")
        assert result.code == 0
        assert "against the saved program in net.pt: 16 rows x 1000 samples" in result.out
        assert max(map(len, result.out.splitlines())) <= 80
    failed = qbnnc_command("verify", "net.qbnn", *told, "--max-mean-shift", "0.0001", "--json")
    assert failed.code == 1
    assert json.loads(failed.out)["accepted"] is False
    for wrong in (("--max-divergence", "1"), ("--dropout", "off"), ("--trust-pickle",)):
        result = qbnnc_command("verify", "net.qbnn", "--input", "rows.npz:x", *wrong)
        assert result.code == 2
        assert f"{wrong[0]}: is for --source MODEL" in result.err
    result = qbnnc_command("verify", "net.qbnn", "net.onnx", *told)
    assert result.code == 2
    result = qbnnc_command("verify", "net.qbnn", "--input", "rows.npz:x", "--source", "net.qbnn")
    assert "no module to sample" in result.err
