"""Evaluating: metrics of artefacts and float models on labelled data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

import qbnnc
from qbnnc.evaluation.files import evaluate_files
from qbnnc.evaluation.score import Measure
from qbnnc.ir import format
from qbnnc.ir.oracle import oracle_samples
from qbnnc.runtime import metrics, ranking
from qbnnc.support.errors import UserError
from tests.commands import Runner, npz
from tests.conftest import DATA
from tools.models import LeNet_MCD

LENET = ("--model", "tools.models:LeNet_MCD")
DIABETES = f"{DATA / 'diabetes.npz'}:x_test,y_test"


class Record(TypedDict):
    """The record of one model in --json."""

    bits: str
    samples: int
    seeds: list[int]
    measures: dict[str, dict[str, float]]


def records(command: Runner, *arguments: object) -> list[Record]:
    result = command("evaluate", *arguments, "--json")
    assert result.code == 0, result.err
    made: list[Record] = json.loads(result.out, parse_constant=_no_constant)
    return made


def _no_constant(name: str) -> float:
    raise AssertionError(f"{name} is no JSON")


def means(record: Record) -> dict[str, float]:
    return {name: measure["mean"] for name, measure in record["measures"].items()}


def test_artefacts_have_the_metrics_of_the_oracle(qbnnc_command: Runner, artefacts: Path) -> None:
    """From the samples of the integer oracle, by the head's own definition."""
    data = npz("fashion.npz")
    np.savez("few.npz", x=data["x"][:12], y=data["y"][:12], ood=data["ood"][:5])
    model = format.load(artefacts / "lenet.qbnn")
    found, unknown = (
        model.head.evaluate(
            oracle_samples(model, data[key][:count].astype(np.float32), samples=20, seed=3)
        )
        for key, count in (("x", 12), ("ood", 5))
    )
    scores = metrics.classification_scores(
        found["probabilities"], data["y"][:12], found["mutual_information"]
    )
    names = ("error", "nll", "ece", "entropy", "mutual_information", "brier")
    expected = {name: getattr(scores, name) for name in names}
    expected["ood_entropy"] = unknown["entropy"].mean()
    expected["ood_mutual_information"] = unknown["mutual_information"].mean()
    p, wrong = found["probabilities"], found["probabilities"].argmax(axis=1) != data["y"][:12]
    expected["aurc"] = ranking.area_under_risk_coverage(wrong, 1 - p.max(axis=1))
    expected["ood_auroc"] = ranking.auroc(found["entropy"], unknown["entropy"])
    paths = (artefacts / "lenet.onnx", artefacts / "lenet.qbnn")
    both = records(qbnnc_command, *paths, "--data", "few.npz", "--ood", "few.npz:ood", "--seed", 3)
    for record in both:
        assert means(record) == pytest.approx(expected, abs=1e-5)
    assert both[0]["measures"] == both[1]["measures"]


@pytest.mark.parametrize("suffix", ["onnx", "qbnn"])
def test_the_batch_size_changes_no_bit(qbnnc_command: Runner, artefacts: Path, suffix: str) -> None:
    data = npz("fashion.npz")
    np.savez("few.npz", x=data["x"][:9], y=data["y"][:9])
    for name, spec in (("lenet", "few.npz"), ("mlp", DIABETES)):
        made = [
            records(
                qbnnc_command, artefacts / f"{name}.{suffix}", "--data", spec, "--batch-size", size
            )
            for size in (1, 4, 256)
        ]
        assert made[0] == made[1] == made[2]


def test_many_models_fit_80_columns(qbnnc_command: Runner, artefacts: Path) -> None:
    paths = [artefacts / f"mlp.{suffix}" for suffix in ("onnx", "qbnn", "qbnn", "qbnn", "qbnn")]
    seeds = ("--seed", 1, "--seed", 2)
    shown = qbnnc_command("evaluate", *paths, "--data", DIABETES, *seeds).out
    for text in ("w8a7, input=a8, L = 20, seed 1, 2", "RMSE, units of y", "NLL, nats", " ± "):
        assert text in " ".join(shown.split())  # a long path folds its line
    tables = shown.split("\n\n", 1)[1]
    assert max(map(len, tables.splitlines())) <= 80
    assert tables.count("RMSE") == 2
    assert "nan" not in shown.lower()


@pytest.mark.slow
def test_float_beside_integers(qbnnc_command: Runner, artefacts: Path) -> None:
    data = npz("fashion.npz")
    np.savez("few.npz", x=data["x"][:9], y=data["y"][:9])
    compared = ("--compare", "lenet_mcd.pt", *LENET)
    asked = (artefacts / "lenet.onnx", "--data", "few.npz", *compared, "--samples", 6)
    first, other = records(qbnnc_command, *asked)
    assert first["bits"] == "float32"
    assert first["samples"] == other["samples"] == 6
    assert first["measures"].keys().isdisjoint({"kl", "rank", "spread"})  # it has one seed
    quantised = means(other)
    fidelity = {name: quantised.pop(name) for name in ("kl", "rank", "spread")}
    assert means(first) == pytest.approx(quantised, abs=0.05)
    assert means(first) != quantised
    assert 0 < fidelity["kl"] < 0.05
    assert 0.7 < fidelity["rank"] <= 1
    assert fidelity["spread"] == pytest.approx(1, abs=0.3)


def test_several_seeds_are_a_mean_and_a_standard_deviation(
    qbnnc_command: Runner, artefacts: Path
) -> None:
    path = artefacts / "mlp.qbnn"
    one, two = (
        means(records(qbnnc_command, path, "--data", DIABETES, "--seed", seed)[0])
        for seed in (4, 5)
    )
    (both,) = records(qbnnc_command, path, "--data", DIABETES, "--seed", 4, "--seed", 5)
    for name, measure in both["measures"].items():
        assert measure["mean"] == pytest.approx((one[name] + two[name]) / 2)
        assert measure["std"] == pytest.approx(abs(one[name] - two[name]) / np.sqrt(2))
    assert one["rmse"] != two["rmse"]


def test_regression_in_the_units_of_the_user(qbnnc_command: Runner, artefacts: Path) -> None:
    """NLL grows by log std, everything else is multiplied; the mean cancels out."""
    asked = (artefacts / "mlp.onnx", "--data", DIABETES, "--ood", "wide.npy")
    np.save("wide.npy", npz(DATA / "diabetes.npz")["x_test"] * 5)
    plain = means(records(qbnnc_command, *asked)[0])
    real = means(records(qbnnc_command, *asked, "--target-mean", "-150", "--target-std", 7.5)[0])
    assert real.pop("nll") == pytest.approx(plain.pop("nll") + np.log(7.5))
    for name in ("coverage", "ood_auroc"):
        assert real.pop(name) == pytest.approx(plain.pop(name))
    assert real == pytest.approx({name: 7.5 * value for name, value in plain.items()})
    assert plain["ood_epistemic_std"] > 2 * plain["epistemic_std"]
    assert {"rmse", "aleatoric_std", "ood_aleatoric_std"} <= set(plain)


def test_a_network_without_randomness_is_run_once(qbnnc_command: Runner) -> None:
    """And without a variance it gives no density: the NLL is infinite, and says so."""
    net = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1)).eval()
    qbnnc.save(net, "float.qbnn", (torch.zeros(2, 3),), calibration=np.ones((120, 3)))
    x = np.random.default_rng(0).normal(size=(30, 3))
    np.savez("data.npz", X=x, Y=x.sum(axis=1))
    asked = ("float.qbnn", "--data", "data.npz", "--task", "regression", "--samples", 5)
    (record,) = records(qbnnc_command, *asked, "--seed", 8, "--seed", 9)
    assert record["seeds"] == [8]
    assert record["samples"] == 1
    assert json.dumps(record["measures"]["nll"]) == '{"mean": "inf", "std": null}'
    predicted = net(torch.from_numpy(x).float())[:, 0].detach().numpy()
    assert means(record)["rmse"] == pytest.approx(
        np.sqrt(((predicted - x.sum(axis=1)) ** 2).mean()), rel=1e-5
    )
    shown = qbnnc_command("evaluate", *asked).out
    assert "NLL inf: a row's truth has probability or density 0" in shown


def test_the_task_is_asked_for_only_where_nobody_knows_it(qbnnc_command: Runner) -> None:
    net = nn.Sequential(nn.Linear(3, 4)).eval()
    x = np.random.default_rng(0).normal(size=(120, 3)).astype(np.float32)
    np.savez("labels.npz", x=x, y=np.arange(120) % 4)
    np.savez("targets.npz", x=x, y=x[:, :1].repeat(4, axis=1))
    qbnnc.save(net, "raw.qbnn", (torch.zeros(2, 3),), calibration=x)
    qbnnc.compile("raw.qbnn", "known.qbnn", task="classification")
    said = qbnnc_command.refused("evaluate", "raw.qbnn", "--data", "labels.npz")
    assert "give --task classification (labels.npz:y looks like labels of 4 classes)" in said
    said = qbnnc_command.refused("evaluate", "raw.qbnn", "--data", "targets.npz")
    assert "give --task regression" in said
    alone = ("raw.qbnn", "--task", "classification", "--data", "labels.npz")
    beside = ("raw.qbnn", "known.qbnn", "--data", "labels.npz")
    (first,) = records(qbnnc_command, *alone)
    assert first["measures"] == records(qbnnc_command, *beside)[0]["measures"]
    said = qbnnc_command.refused(
        "evaluate", "known.qbnn", "--data", "targets.npz", "--task", "regression"
    )
    assert said.startswith("known.qbnn: --task regression: it is a network of task classification")


def test_a_softmax_at_the_end_belongs_to_the_head(qbnnc_command: Runner) -> None:
    logits = nn.Sequential(nn.Linear(3, 4)).eval()
    x = np.random.default_rng(0).normal(size=(120, 3)).astype(np.float32)
    qbnnc.save(logits, "a.qbnn", (torch.zeros(2, 3),), calibration=x)
    with_softmax = nn.Sequential(logits, nn.Softmax(dim=1)).eval()
    qbnnc.save(with_softmax, "b.qbnn", (torch.zeros(2, 3),), calibration=x)
    a, b = evaluate_files(["a.qbnn", "b.qbnn"], (x, np.arange(120) % 4))
    assert b.scores.measures == {**a.scores.measures, "kl": Measure(0.0, None)}


def test_modules_and_arrays_in_memory(
    lenet_mcd: LeNet_MCD, artefacts: Path, fashion: Mapping[str, NDArray[np.uint8]]
) -> None:
    x, y = fashion["x"][:6, 0], fashion["y"][:6]  # [6, 28, 28]: the channel is understood
    told: list[tuple[str, int, int]] = []
    module, compiled = evaluate_files(
        [lenet_mcd, artefacts / "lenet.qbnn"],
        (x, y),
        ood=fashion["ood"][:2],
        batch_size=3,
        progress=lambda name, done, total: told.append((name, done, total)),
    )
    assert (module.name, module.bits, compiled.bits) == ("LeNet_MCD", "float32", "w8a7,input=a8")
    assert module.scores.measures["entropy"].mean == pytest.approx(
        compiled.scores.measures["entropy"].mean, abs=0.02
    )
    assert told[:3] == [("LeNet_MCD", i, 3) for i in (1, 2, 3)]
    curve = compiled.scores.calibration
    assert sum(b.count for b in curve) == 6
    ece = sum(b.count * abs(b.accuracy - b.confidence) for b in curve) / 6
    assert compiled.scores.measures["ece"].mean == pytest.approx(ece)


def test_one_row_is_enough(qbnnc_command: Runner, artefacts: Path) -> None:
    data = npz("fashion.npz")
    np.savez("one.npz", x=data["x"][:1], y=data["y"][:1].astype(float))
    (record,) = records(
        qbnnc_command, artefacts / "lenet.qbnn", "--data", "one.npz", "--seed", 1, "--seed", 2
    )
    assert means(record)["error"] in (0, 0.5, 1)


def test_targets_fit_with_or_without_an_axis_of_one(artefacts: Path) -> None:
    data = npz(DATA / "diabetes.npz")
    x, y = data["x_test"], data["y_test"]
    flat, column = (
        evaluate_files(artefacts / "mlp.qbnn", (x, targets))[0].scores.measures
        for targets in (y[:, 0], y.astype(np.float64))
    )
    assert flat == column
    for wrong, message in ((y[:, :0], "output is \\[rows, 1\\]"), (y * np.nan, "NaN or inf")):
        with pytest.raises(UserError, match=message):
            evaluate_files(artefacts / "mlp.qbnn", (x, wrong))


def test_inputs_that_are_scaled_otherwise_are_noticed(
    qbnnc_command: Runner, artefacts: Path
) -> None:
    """A network of pixels 0..255 is shown ten times brighter ones."""
    data = npz("fashion.npz")
    x, y = data["x"][:5], data["y"][:5]
    np.savez("right.npz", x=x, y=y)
    np.savez("wrong.npz", x=x * 10.0, y=y)
    asked = ("evaluate", artefacts / "lenet.onnx", "--data")
    assert "outside the range" not in qbnnc_command(*asked, "right.npz").out
    outside = (x * 10.0 > 257).mean()
    said = f"{outside:.0%} of the input values lie outside the range"
    assert said in qbnnc_command(*asked, "wrong.npz").words
