"""The cost of each layer alone at fewer bits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import qbnnc
from qbnnc.evaluation.data import LabelledData
from qbnnc.evaluation.files import evaluate_files
from qbnnc.evaluation.statistics import class_statistics, moments, row_nll
from qbnnc.ir import format
from qbnnc.ir.graph import Graph
from qbnnc.ir.head import Task
from qbnnc.ir.model import Model
from qbnnc.ir.ops import Concat, Linear
from qbnnc.ir.types import Array
from qbnnc.loading.sources import float_model
from qbnnc.passes.mixed_precision.compiler import Compiler
from qbnnc.passes.mixed_precision.layers import layers_of
from qbnnc.passes.mixed_precision.measured import divergence, standard_error
from qbnnc.passes.options import Bits, Quantisation, WeightScheme
from qbnnc.passes.pipeline import Options, quantise_model
from qbnnc.study.sensitivity import Layer, Tried, sensitivity
from qbnnc.study.sensitivity.api import rows_of
from qbnnc.study.terminal import lines_of
from qbnnc.support.errors import UserError
from tests.net import Net
from tests.study.sweeps import classifier, labelled
from tools.models import MLP_MCD


def one_that_matters() -> Model:
    """[6] to logits [3]: an identity, which 2-bit weights hold exactly, then a fine layer."""
    net = Net((6,))
    identity = net.build.constant("easy.weight", np.eye(6, dtype=np.float32))
    net.emit(Linear(), identity, net.constant("easy.bias", 6, scale=0), name="easy")
    net.relu("r").dropout(0.1, "d")
    fine = net.constant("fine.weight", 3, 6, scale=2), net.constant("fine.bias", 3, scale=1)
    return float_model((net.emit(Linear(), *fine, name="fine").graph(),), None)


def truth(model: Model, rows: int) -> tuple[Array, Array]:
    """Inputs [rows, 6], and labels drawn as the network, without dropout, predicts them."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(rows, 6)).astype(np.float32)
    weight, bias = (
        next(a for v, a in model.graph.constants.items() if v.name == f"fine.{what}")
        for what in ("weight", "bias")
    )
    return x, (np.maximum(x, 0) @ weight.T + bias + rng.gumbel(size=(rows, 3))).argmax(axis=1)


def test_the_layer_that_matters_is_found() -> None:
    model = one_that_matters()
    x, y = truth(model, 500)
    found = sensitivity(
        model,
        (x, y),
        calibration=x,
        task="classification",
        tried="w2",
        seeds=(0, 1),
        calibration_passes=2,
    )
    easy, fine = found.costs
    assert (easy.layer.name, fine.layer.name) == ("easy", "fine")
    assert easy.divergence < fine.divergence / 20
    added = [cost.metrics["nll"] - found.baseline["nll"] for cost in (easy, fine)]
    assert added[1] > 5 * abs(added[0])
    assert fine.nll_error is not None
    assert added[1] > 2 * fine.nll_error
    (marked,) = (line for line in lines_of(found, "data") if line.startswith(">"))
    assert "fine" in marked


@pytest.mark.parametrize(
    ("layer", "tried", "compile_options"),
    [
        ("fc2", "w3", {"layers": {"fc2": "w3a7"}}),
        pytest.param("fc2", "a3", {"layers": {"fc2": "w8a3"}}, marks=pytest.mark.slow),
        pytest.param("mu", "w2", {"layers": {"mu": "w2a7"}}, marks=pytest.mark.slow),
        pytest.param("(input)", "a4", {"input_bits": 4}, marks=pytest.mark.slow),
    ],
)
def test_one_layer_is_what_compile_makes_of_it(
    mlp_mcd: MLP_MCD,
    diabetes: dict[str, Array],
    tmp_path: Path,
    layer: str,
    tried: str,
    compile_options: dict[str, Any],
) -> None:
    data, x = (diabetes["x_test"], diabetes["y_test"]), diabetes["x_train"]
    made: dict[str, Any] = {"calibration": x, "task": "regression", "calibration_passes": 2}
    found = sensitivity(mlp_mcd, data, tried=tried, seeds=(3, 4), **made)
    cost = next(cost for cost in found.costs if cost.layer.name == layer)
    paths = [tmp_path / "one.qbnn", tmp_path / "base.qbnn"]
    for path, more in zip(paths, (compile_options, {}), strict=True):
        qbnnc.compile(mlp_mcd, path, **made, **more)
    _, *evaluations = evaluate_files([mlp_mcd, *paths], data, seeds=(3, 4), task="regression")
    for evaluation, metrics in zip(evaluations, (cost.metrics, found.baseline), strict=True):
        direct = {name: m.mean for name, m in evaluation.scores.measures.items()}
        assert {"kl", "rank", "spread"} <= direct.keys()
        assert direct == dict(metrics)


def residual() -> Graph:
    """[4]: a layer with sampled weights, a sum, and a concatenation of two layers."""
    net = Net((4,)).linear(4, "in").relu("r")
    net.residual("sum", lambda n: n.bayesian(4, "bayes", Linear(), sampled_bias=False))
    before = net.value
    first = net.linear(2, "one").value
    net.value = before
    second = net.linear(3, "two").value
    net.value = first
    return net.emit(Concat(0), second, name="join").linear(2, "out").graph()


OWN = (
    (classifier(members=2), {"a": Bits(3, 4)}, None),
    (classifier(members=2), {"b": Bits(4, 7), "a": Bits(8, 6)}, 3),
    (float_model((residual(),), None), {"one": Bits(8, 4), "two": Bits(8, 2)}, None),
    (float_model((residual(),), None), {"sum": Bits(8, 3), "bayes": Bits(4, 5)}, 6),
)


@pytest.mark.few(2)
@pytest.mark.parametrize(("model", "layers", "entry"), OWN)
@pytest.mark.parametrize("bits", [Bits(8, 7), Bits(4, 4)])
def test_sharing_calibration_changes_no_integer(
    model: Model, layers: dict[str, Bits], entry: int | None, bits: Bits
) -> None:
    rows = np.random.default_rng(0).normal(size=(80, *model.graph.input.type.shape)).astype("f4")
    base = Quantisation(weights=WeightScheme.TENSOR_AFFINE)
    options = Options(base, task=Task.CLASSIFICATION)
    own = replace(base, bits=bits, layers=layers, input_bits=entry)
    direct = quantise_model(model, rows, replace(options, quantisation=own))
    compiler = Compiler.of(model, rows, options)
    for quantisation in (base, own):  # the second finds ranges that the first observed
        shared = replace(compiler.compiled(quantisation), provenance=direct.provenance)
    assert format.digest(shared) == format.digest(direct)


def test_layers_and_their_sizes() -> None:
    found = {layer.name: (layer.weights, layer.activations) for layer in layers_of(residual())}
    assert found == {
        "(input)": (0, 4),
        "in": (16, 4),
        "bayes": (32, 4),  # mean and deviation
        "sum": (0, 4),
        "one": (8, 5),  # and the codes of "two", which it shares
        "two": (12, 0),
        "out": (10, 0),
    }
    many = layers_of(residual(), members=3, outputs=True)
    assert many[-1] == Layer("out", 30, 2, ())


def test_layers_have_the_bits_that_compile_gives_them() -> None:
    layer = Layer("block.conv", 1, 1, ("conv.3",))
    entry, trunk = Layer("(input)", 0, 1), Layer("block.add", 0, 1, residual=True)
    named = Quantisation(layers={"conv.3": Bits(4, 4)}, input_bits=5)
    assert layer.bits(named) == Bits(4, 4)
    assert entry.bits(named) == Bits(8, 5)
    assert layer.is_set(named)
    assert entry.is_set(named)
    assert layer.changed(named, Bits(2, 2)).layers["block.conv"] == Bits(2, 2)
    assert entry.changed(named, Bits(8, 3)).input_bits == 3
    few = Quantisation(Bits(4, 4), layers={"block": Bits(4, 4)})
    assert trunk.bits(few) == Bits(4, 7)
    assert Layer("block", 0, 1, residual=True).bits(few) == Bits(4, 4)


def test_likelihoods_row_by_row_are_those_of_the_metrics(mlp_mcd: MLP_MCD) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(5, 7, 4)).astype(np.float32)
    labels = LabelledData(np.zeros((7, 1), np.float32), rng.integers(0, 4, 7))
    (p,) = predicted = class_statistics((logits,))[:1]
    assert np.allclose(
        row_nll(Task.CLASSIFICATION, predicted, labels), -np.log(p[np.arange(7), labels.y])
    )
    targets = LabelledData(labels.x, rng.normal(size=(7, 1)).astype(np.float32))
    mean, *parts = moments((logits[..., :1], logits[..., 1:2]))
    normal = mean, variance = mean, parts[0] + parts[1]
    wanted = np.log(variance) / 2 + (targets.y - mean) ** 2 / (2 * variance)
    assert np.allclose(row_nll(Task.REGRESSION, normal, targets), wanted[:, 0])


def test_divergences() -> None:
    """Closed forms; a network that gives no variance is compared by its means."""
    zero, one = np.zeros((1, 1)), np.ones((1, 1))
    assert divergence((zero, one), (one, one)) == pytest.approx(0.5, rel=1e-4)
    assert divergence((zero, one), (zero, 4 * one)) == pytest.approx(
        np.log(2) + 1 / 8 - 1 / 2, rel=1e-4
    )
    p, q = np.array([[0.5, 0.5, 0.0]]), np.array([[0.25, 0.75, 0.0]])
    assert divergence((p,), (q,)) == pytest.approx(np.log(2) / 2 + np.log(2 / 3) / 2)
    assert divergence((q,), (q,)) == 0
    assert divergence((p,), (np.array([[0.0, 1.0, 0.0]]),)) == np.inf
    near, far = (divergence((zero, zero), (shift * one, zero)) for shift in (0.1, 0.2))
    assert 0 < near < far


def test_a_standard_error_needs_finite_rows() -> None:
    assert standard_error(np.array([1.0, 3.0]), np.zeros(2)) == pytest.approx(1.0)
    assert standard_error(np.ones(1), np.zeros(1)) is None
    assert standard_error(np.array([np.inf, 1]), np.array([np.inf, 0])) is None


@pytest.mark.few(0)
def test_regression_beside_other_inputs_fits_80_columns(
    mlp_mcd: MLP_MCD, diabetes: dict[str, Array]
) -> None:
    data, x = (diabetes["x_test"], diabetes["y_test"]), diabetes["x_train"]
    found = sensitivity(
        mlp_mcd, data, calibration=x, task="regression", ood=5 * x[:40], calibration_passes=2
    )
    lines = list(lines_of(found, "diabetes.npz"))
    assert max(map(len, lines)) <= 80
    titles = "layer bits saves KL NLL ± epi. std RMSE OOD epi."
    assert titles.split() in [line.split() for line in lines]
    assert sum("log_var" in line for line in lines) == 1  # it gives no codes


def test_what_cannot_be_subtracted_is_left_out() -> None:
    """A pointwise regression without a variance has a likelihood of 0, at any bits."""
    x, _ = labelled(100)
    model = classifier(dropout=False)
    found = sensitivity(model, (x, x[:, :3]), calibration=x, task="regression", tried="w2")
    assert found.baseline["nll"] == np.inf
    assert [cost.nll_error for cost in found.costs] == [None, None]
    rows = [line.split() for line in lines_of(found, "x") if " w2 " in line]
    assert [row[-4:-2] for row in rows] == [["-", "-"], ["-", "-"]]


def test_rows_and_their_digest_say_what_was_measured() -> None:
    x, y = labelled(100)
    made = [
        sensitivity(
            classifier(),
            (x, y),
            calibration=x,
            task="classification",
            samples=2,
            tried=t,
            calibration_passes=2,
        )
        for t in ("w4", "w4", "w3")
    ]
    same, again, other = (next(rows_of(one)) for one in made)
    assert same == again
    assert getattr(same, "digest", 0) != getattr(other, "digest", 1)


def test_widths_are_tried_once() -> None:
    assert Tried.parse_all(" W4, a3,w4", Bits()) == Tried.parse_all("w4,a3", Bits())
    with pytest.raises(UserError, match="a4 is what `bits=w4a4` has"):
        Tried.parse_all("a4", Bits(4, 4))
