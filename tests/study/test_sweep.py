"""The study engine: what a sweep computes, how it goes on, and what becomes of failures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qbnnc.evaluation.data import LabelledData
from qbnnc.evaluation.predictors import FloatPredictor
from qbnnc.evaluation.score import evaluate
from qbnnc.ir.head import Task
from qbnnc.ir.model import Model
from qbnnc.ir.ops import Linear
from qbnnc.ir.types import Array
from qbnnc.loading.artefacts import Predictor, QbnnArtefact
from qbnnc.loading.sources import float_model
from qbnnc.passes.options import Bits, Quantisation
from qbnnc.passes.pipeline import Options, quantise_model
from qbnnc.runtime import load
from qbnnc.study.results import Precision, read_rows
from qbnnc.study.settings import Tuning
from qbnnc.support.errors import CompileError, UserError
from tests.net import Net
from tests.study.sweeps import Stop, classifier, labelled, small_sweep, timeless


def test_every_item_has_its_row(tmp_path: Path) -> None:
    results = small_sweep(tmp_path / "s.jsonl")
    assert [r.key for r in results] == [
        f"net/{what}/seed{seed}" for what in ("float", "ptq/w8a7", "ptq/w3a3") for seed in (0, 1)
    ]
    _, *rows = read_rows(tmp_path / "s.jsonl")
    assert tuple(rows) == results
    assert all(r.error is None and r.samples == 5 and r.seconds > 0 for r in results)
    assert {tuple(r.sizes) for r in results} == {("float32",), ("qbnn",)}
    macs = 6 * 16 + 5 * 16 * 3  # the second layer is computed for each of 5 samples
    assert [r.costs.get("macs") for r in results] == [None] * 2 + [macs] * 4
    assert all(r.costs["milliseconds"] > 0 for r in results[2:])


def test_the_metrics_are_those_of_the_compiled_network(tmp_path: Path) -> None:
    """Compiled and evaluated here by hand, with the same seed."""
    results = {r.key: r for r in small_sweep(tmp_path / "s.jsonl")}
    (train, _), (x, y), (ood, _) = labelled(120), labelled(50, 1), labelled(30, 2)
    options = Options(Quantisation(Bits(3, 3)), 5, Task.CLASSIFICATION)
    integers = quantise_model(classifier(), train.astype(np.float32), options)
    compiled = QbnnArtefact(load(integers))
    floating = FloatPredictor.of(classifier())
    data = LabelledData(x.astype(np.float32), y.astype(np.int64))
    for key, predictor in (("net/ptq/w3a3/seed1", compiled), ("net/float/seed1", floating)):
        scores = evaluate(
            predictor, data, task=Task.CLASSIFICATION, seeds=(1,), samples=5,
            ood=9 * ood.astype(np.float32),
        ).measures  # fmt: skip
        found = results[key]
        assert found.metrics["error"] == scores["error"].mean
        assert found.metrics["nll"] == scores["nll"].mean
        assert found.metrics["ape"] == scores["entropy"].mean
        assert found.ood is not None
        assert found.ood["ape"] == scores["ood_entropy"].mean
        assert 1 / 3 <= found.ood["confidence"] <= 1


def test_uncertainties_are_compared_with_the_float_networks(tmp_path: Path) -> None:
    """By hand: mutual informations of both, from their samples with the same seed."""
    results = {r.key: r.metrics for r in small_sweep(tmp_path / "s.jsonl", bits="w3a3")}
    x, train = labelled(50, 1)[0].astype(np.float32), labelled(120)[0].astype(np.float32)
    options = Options(Quantisation(Bits(3, 3)), 5, Task.CLASSIFICATION)
    integers = QbnnArtefact(load(quantise_model(classifier(), train, options)))

    def probabilities(predictor: Predictor, seed: int) -> Array:
        z = predictor.predict(x, samples=5, seed=seed)["samples"].astype(np.float64)
        p: Array = np.exp(z) / np.exp(z).sum(axis=2, keepdims=True)
        return p

    def information(p: Array) -> Array:
        h = [-(q * np.log(q)).sum(axis=-1) for q in (p.mean(axis=0), p)]
        mutual: Array = np.maximum(h[0] - h[1].mean(axis=0), 0)
        return mutual

    floating = FloatPredictor.of(classifier(), Task.CLASSIFICATION)
    floats = [probabilities(floating, seed) for seed in (0, 1, 2)]
    compiled = probabilities(integers, 1)
    for key, first, second in (
        ("net/ptq/w3a3/seed1", floats[1], compiled),
        ("net/float/seed0", floats[0], floats[1]),
        ("net/float/seed1", floats[1], floats[2]),
    ):
        p, q = first.mean(axis=0), second.mean(axis=0)
        assert results[key]["kl"] == pytest.approx((p * np.log(p / q)).sum(axis=1).mean())
        ratio = information(second).mean() / information(first).mean()
        assert results[key]["spread"] == pytest.approx(ratio)
        assert -1 <= results[key]["rank"] < 1
    quiet = small_sweep(
        tmp_path / "q.jsonl", networks={"net": classifier(dropout=False)}, bits="w3a3"
    )
    assert "kl" not in quiet[0].metrics
    assert quiet[1].metrics["kl"] > 0
    assert "rank" not in quiet[1].metrics


def test_the_histogram_counts_every_row(tmp_path: Path) -> None:
    for result in small_sweep(tmp_path / "s.jsonl", bits="w8a7"):
        assert result.entropy is not None
        assert result.calibration is not None
        assert result.entropy.ood is not None
        assert sum(result.entropy.test) == sum(b.count for b in result.calibration) == 50
        assert sum(result.entropy.ood) == 30
        assert result.entropy.edges[-1] == pytest.approx(np.log(3))
        middles = np.convolve(result.entropy.edges, [0.5, 0.5], "valid")
        mean = np.dot(middles, result.entropy.test) / 50
        assert mean == pytest.approx(result.metrics["ape"], abs=np.log(3) / 20)


def test_what_is_fine_tuned_later_may_be_in_the_same_file(tmp_path: Path) -> None:
    """So how it will be tuned is part of the configuration, with and without fine-tuning."""
    path, tuning = tmp_path / "s.jsonl", Tuning(epochs=0.1)
    small_sweep(path, bits="w4a4", seeds=1, tuning=tuning)
    whole = small_sweep(path, bits="w4a4", seeds=1, tuning=tuning, ptq=False, qat=True)
    assert [r.precision.value for r in whole] == ["float", "ptq", "qat"]


def test_fine_tuning_gives_rows_of_its_own(tmp_path: Path) -> None:
    options = {"ptq": False, "qat": True, "bits": "w2a2", "tuning": Tuning(epochs=1, lr=1e-2)}
    results = small_sweep(tmp_path / "s.jsonl", **options)
    tuned = [r for r in results if r.precision is Precision.QAT]
    assert [r.error for r in tuned] == [None, None]
    assert len({r.precision for r in results}) == 2
    assert tuned[0].metrics != tuned[1].metrics


def test_what_is_not_random_is_evaluated_once(tmp_path: Path) -> None:
    networks = {"point": classifier(dropout=False), "two": classifier(dropout=False, members=2)}
    results = small_sweep(tmp_path / "s.jsonl", networks=networks, bits="w8a7")
    assert [(r.network, r.seed, r.samples) for r in results] == [
        ("point", 0, 1), ("point", 0, 1), ("two", 0, 2), ("two", 0, 2)
    ]  # fmt: skip


def test_members_draw_as_in_compile(tmp_path: Path) -> None:
    results = small_sweep(tmp_path / "s.jsonl", networks={"e": classifier(members=2)}, bits="w8a7")
    assert [(r.error, r.samples) for r in results] == [(None, 10)] * 4


def test_targets_in_their_own_units(tmp_path: Path) -> None:
    net = Net((6,)).linear(8, "a").relu("r").linear(1, "b").graph()
    x, y = labelled(120)[0], labelled(120)[0][:, :1]
    made = []
    for number, units in enumerate(({}, {"target_mean": 5.0, "target_std": 3.0})):
        made.append(
            small_sweep(
                tmp_path / f"{number}.jsonl", networks={"net": float_model((net,), None)},
                train=x, test=(x, y),
                task="regression", bits="w8a7", samples=None, **units,
            )
        )  # fmt: skip
    for own, scaled in zip(*made, strict=True):
        assert scaled.metrics["rmse"] == pytest.approx(3 * own.metrics["rmse"])
        assert scaled.entropy is None
        assert scaled.calibration is None


def test_images_are_shifted_in_float_and_at_the_most_bits(tmp_path: Path) -> None:
    net = Net((1, 6, 6)).conv(2, 3, "c").relu("r").flatten("f").linear(3, "b").graph()
    x = np.random.default_rng(0).uniform(size=(120, 1, 6, 6)).astype(np.float32)
    results = small_sweep(
        tmp_path / "s.jsonl", networks={"net": float_model((net,), None)},
        train=x, test=(x[:20], np.arange(20) % 3),
        ood=None, samples=None, bits="w8a3,w4a7,w3a7", shifts=True,
    )  # fmt: skip
    assert [len(r.shifts) for r in results] == [15, 0, 0, 15]
    brightest = next(s for s in results[0].shifts if (s.shift, s.amount) == ("brightness", 3.5))
    assert brightest.metrics["nll"] != results[0].metrics["nll"]


@pytest.mark.parametrize("jobs", [0, 1, 2, 3])
def test_an_interrupted_study_goes_on_to_the_same_file(tmp_path: Path, jobs: int) -> None:
    whole, broken = tmp_path / "whole.jsonl", tmp_path / "broken.jsonl"
    small_sweep(whole)
    with pytest.raises(KeyboardInterrupt):
        small_sweep(broken, progress=Stop(jobs))
    with broken.open("ab") as file:
        file.write(b'{"kind": "result", "key": "net/ptq/w8')
    again = Stop(99)
    small_sweep(broken, progress=again)
    assert timeless(broken) == timeless(whole)
    assert (again.done, again.jobs) == ([0, 1, 2, 4][jobs], [4, 3, 2, 1][jobs])


def test_a_finished_study_computes_nothing(tmp_path: Path) -> None:
    path, again = tmp_path / "s.jsonl", Stop(99)
    small_sweep(path)
    before = path.read_bytes()
    small_sweep(path, progress=again)
    assert (again.done, again.jobs) == (6, 0)
    assert path.read_bytes() == before


def test_a_study_grows_and_is_in_order(tmp_path: Path) -> None:
    """More bits, seeds and precisions may come later: the file is as if they had been there."""
    whole, grown = tmp_path / "whole.jsonl", tmp_path / "grown.jsonl"
    small_sweep(whole)
    small_sweep(grown, bits="w3a3", seeds=[1], ptq=False)
    small_sweep(grown, bits="w3a3", seeds=1)
    small_sweep(grown)
    assert timeless(whole) == timeless(grown)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"samples": 6}, "--samples 5, now 6"),
        ({"test": labelled(49, 1)}, "test 50 x 6"),
        ({"networks": {"net": classifier(members=2)}}, "network net MC dropout"),
        ({"networks": {"other": classifier()}}, "network net MC dropout"),
        ({"ood": None}, ", now not given"),
        ({"compile_options": {"observer": "ema"}}, "--calibration not given, now ema"),
    ],
)
def test_another_configuration_is_refused(
    tmp_path: Path, change: dict[str, object], said: str
) -> None:
    path = tmp_path / "s.jsonl"
    with pytest.raises(KeyboardInterrupt):
        small_sweep(path, progress=Stop(1))
    before = path.read_bytes()
    with pytest.raises(UserError, match="made with other options or data") as refused:
        small_sweep(path, **change)
    assert str(refused.value).startswith(str(path))
    assert said in str(refused.value)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (CompileError("no such integers; use more bits", "a"), "a: no such integers; use"),
        (MemoryError(), "out of memory"),
        (RuntimeError("two\nlines"), "RuntimeError: two lines"),
    ],
)
def test_a_failing_configuration_is_told_in_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    path = tmp_path / "s.jsonl"

    def failing(model: Model, rows: Array, options: Options, **more: Any) -> Model:
        if options.quantisation.bits == Bits(3, 3):
            raise error
        return quantise_model(model, rows, options, **more)

    monkeypatch.setattr("qbnnc.study.jobs.quantise_model", failing)
    results = small_sweep(path)
    assert [said in (r.error or "") for r in results] == [False] * 4 + [True] * 2
    assert not results[-1].metrics
    monkeypatch.undo()
    assert small_sweep(path) == results
    mended = small_sweep(path, retry_failed=True)
    assert all(r.error is None for r in mended)
    small_sweep(tmp_path / "other.jsonl")
    assert timeless(path) == timeless(tmp_path / "other.jsonl")


@pytest.mark.filterwarnings("ignore::qbnnc.support.errors.RoundingWarning")  # of such large inputs
def test_outputs_that_are_not_finite_are_an_error(tmp_path: Path) -> None:
    """Weights so large that the float network overflows; what remains is evaluated."""
    net = Net((6,)).linear(16, "a")
    weight, bias = net.constant("w", 3, 16, scale=1e38), net.constant("c", 3)
    graph = net.emit(Linear(), weight, bias, name="b").graph()
    x = 1e30 * labelled(120)[0]
    results = small_sweep(
        tmp_path / "s.jsonl",
        networks={"net": float_model((graph,), None), "good": classifier(dropout=False)},
        train=x, test=(x, np.zeros(120)), samples=None, ood=None,
    )  # fmt: skip
    assert "NaN or infinite" in (results[0].error or "")
    assert [r.network for r in results if r.error is None] == ["good"] * 3


def test_one_row_of_data_is_enough(tmp_path: Path) -> None:
    x, y = labelled(1)
    with pytest.warns(UserWarning, match="^1 calibration row is few"):
        results = small_sweep(tmp_path / "s.jsonl", train=x, test=(x, y), ood=x)
    assert all(r.error is None for r in results)
