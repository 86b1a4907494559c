"""Warnings of a predicted spread that few bits change, and the layer that they name."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from dataclasses import replace
from math import log
from pathlib import Path

import numpy as np
import pytest

import qbnnc
from qbnnc.evaluation.predictors import float_samples
from qbnnc.evaluation.rounded_layers import with_rounded_layers
from qbnnc.evaluation.spread import SpreadRatio, row_spreads, spread_ratio
from qbnnc.evaluation.spread_check import Comparison, warn_of_spread
from qbnnc.ir import format
from qbnnc.ir.graph import Graph
from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from qbnnc.passes.mixed_precision.layers import layers_of
from qbnnc.passes.options import Bits, Quantisation, Rounding
from qbnnc.passes.pipeline import Options, simulate_model
from qbnnc.passes.ranges.calibrate import Calibration, calibration_of
from qbnnc.support.errors import SpreadWarning
from tests.commands import Runner
from tests.graphs import bayesian_lenet, bayesian_mlp, dense, inputs, lenet, mlp, resnet

RNG = np.random.default_rng(0)
FINE = Bits(8, 8)
QUICK = Calibration(passes=2)


def model_of(graph: Graph) -> Model:
    return Model((graph,), Head(Task.RAW), calibration=inputs(graph, 64))


def ensemble() -> Model:
    """Members whose weights hardly differ: rounding them coarsely drives them apart."""
    members = []
    for number in range(4):
        graph, rng = mlp(p=None), np.random.default_rng(number)
        constants = {v: a + 0.002 * rng.normal(size=a.shape) for v, a in graph.constants.items()}
        nearby = {value: array.astype(np.float32) for value, array in constants.items()}
        members.append(replace(graph, constants=nearby))
    return Model(tuple(members), Head(Task.RAW), calibration=inputs(members[0], 128))


def options_of(**layers: Bits) -> Options:
    """8 bits everywhere but in some layers."""
    return Options(Quantisation(FINE, layers=layers), calibration=QUICK)


def compared(model: Model, options: Options) -> Comparison:
    rows = calibration_of(model)
    return Comparison.of(model, simulate_model(model, rows, options), rows, options)


# --- the ratio


def test_a_spread_that_doubles() -> None:
    samples = RNG.normal(size=(8, 20, 3)).astype(np.float32)
    found = spread_ratio((samples,), (2 * samples,), Task.REGRESSION, random=True)
    assert found is not None
    assert found.ratio == pytest.approx(2)
    assert found.error == pytest.approx(0, abs=1e-6)
    assert found.exceeds(1.9)
    assert not found.exceeds(2.1)


def test_a_spread_that_halves_deviates_as_much() -> None:
    assert SpreadRatio(0.5, 0.0).deviation == pytest.approx(2)
    assert SpreadRatio(0.5, 0.1).exceeds(1.5)
    assert not SpreadRatio(0.5, 0.2).exceeds(1.5)  # log(2) - 2 * .2 < log(1.5)


def test_information_by_hand() -> None:
    """Two members that are sure of different classes disagree by log 2; two that agree, by 0."""
    sure = np.array([[[99.0, -99.0]] * 2, [[-99.0, 99.0], [99.0, -99.0]]], np.float32)
    assert row_spreads((sure,), Task.CLASSIFICATION) == pytest.approx([log(2), 0])


def test_deviation_by_hand() -> None:
    """Numbers 0 and 2 have a standard deviation of 1; the second output does not count."""
    mean = np.array([[[0.0, 1.0]], [[2.0, 1.0]]], np.float32)
    assert row_spreads((mean, 9 * mean), Task.REGRESSION) == pytest.approx([0.5])


@pytest.mark.few(4)
@pytest.mark.parametrize("seed", range(20))
def test_noise_is_no_deviation(seed: int) -> None:
    """Samples of one law, without the same random numbers: rows differ by a tenth or more."""
    rng = np.random.default_rng(seed)
    base, other = (rng.normal(size=(16, 16, 1)).astype(np.float32) for _ in range(2))
    found = spread_ratio((base,), (other,), Task.REGRESSION, random=True)
    assert found is not None
    assert not found.exceeds(1.2)


def test_noise_that_rows_share_is_seen() -> None:
    """Half of the samples hardly move, in all rows at once: so few samples tell nothing."""
    base = np.tile(np.array([-1.0, 1.0] * 8, np.float32)[:, None, None], (1, 64, 1))
    other = base * np.repeat([1.0, 1.0, 0.05, 9.0], 4)[RNG.permutation(16), None, None]
    found = spread_ratio((base,), (other.astype(np.float32),), Task.RAW, random=True)
    assert found is not None
    assert found.ratio > 2
    assert found.error > 0.1


def test_without_a_spread_there_is_no_ratio() -> None:
    flat, wide = np.zeros((4, 20, 1), np.float32), RNG.normal(size=(4, 20, 1)).astype(np.float32)
    assert spread_ratio((flat,), (wide,), Task.RAW, random=True) is None
    assert spread_ratio((wide,), (flat,), Task.RAW, random=True) is None


# --- layers that alone are rounded

GRAPHS = [mlp, lenet, resnet, dense, bayesian_mlp, bayesian_lenet]


@pytest.mark.few(3)
@pytest.mark.parametrize("source", GRAPHS)
@pytest.mark.parametrize("rounding", Rounding)
def test_no_layer_is_rounded_or_all_are(source: Callable[[], Graph], rounding: Rounding) -> None:
    """Then it is the float network, or what was compiled where weights are rounded to nearest."""
    model, plain = model_of(source()), rounding is Rounding.NEAREST
    chosen = Quantisation(Bits(4, 4), rounding=rounding, bias_correction=not plain)
    options = Options(chosen, calibration=QUICK)
    comparison = compared(model, options)
    ready, simulated, rows = comparison.ready, comparison.simulated, inputs(model.graph, 5)
    layers = layers_of(ready.graph)
    none = with_rounded_layers(simulated, ready, (), outputs=False)
    every = with_rounded_layers(simulated, ready, layers, outputs=False)
    wanted, given, rounded, again = (
        float_samples(m, rows, 3, 0, 0)[0] for m in (ready, none, simulated, every)
    )
    np.testing.assert_allclose(given, wanted, atol=1e-5)
    assert np.abs(rounded - wanted).max() > 1e-2
    if plain:
        np.testing.assert_array_equal(again, rounded)


# --- the warning


@pytest.mark.parametrize(
    ("model", "layer"),
    [(ensemble(), "fc1"), (ensemble(), "fc2"), (model_of(mlp()), "mu"), (model_of(lenet()), "fc2")],
)
@pytest.mark.parametrize("operations", [3e10, 1.0])
def test_the_one_coarse_layer_is_named(
    model: Model, layer: str, operations: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each layer is tried, or blocks of them are where that is too much work."""
    monkeypatch.setattr("qbnnc.evaluation.spread_check._OPERATIONS", operations)
    found, _ = compared(model, options_of(**{layer: Bits(2, 2)})).costliest()
    assert found is not None
    assert found.name == layer


def told(model: Model, options: Options, rows: int = 128) -> list[type[Warning]]:
    """The categories of the warnings about what is compiled with these options."""
    x = calibration_of(model)
    simulated = simulate_model(model, x, options)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_of_spread(model, simulated, x[:rows], options)
    return [warning.category for warning in caught]


@pytest.mark.parametrize(("rows", "times"), [(16, 1), (15, 0)])
def test_few_rows_say_nothing(rows: int, times: int) -> None:
    assert told(ensemble(), options_of(fc1=Bits(2, 2)), rows) == [SpreadWarning] * times


@pytest.mark.parametrize("source", GRAPHS)
def test_a_network_of_fine_bits_is_not_warned_of(source: Callable[[], Graph]) -> None:
    assert told(model_of(source()), options_of()) == []


def test_a_network_without_samples_is_not_measured() -> None:
    model = ensemble()
    single = replace(model, members=model.members[:1])
    assert told(single, options_of(fc1=Bits(2, 2))) == []


def test_members_that_are_alike_have_no_spread() -> None:
    model = ensemble()
    alike = replace(model, members=model.members[:1] * 2)
    assert told(alike, options_of(fc1=Bits(2, 2))) == []


def test_where_many_layers_cause_a_little_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    comparison = compared(ensemble(), options_of(fc1=Bits(2, 2)))
    monkeypatch.setattr(Comparison, "costliest", lambda _: (None, 0.0))
    assert comparison.message(SpreadRatio(1.5, 0.01)) == (
        "the epistemic standard deviation is 1.50 times float's on the calibration rows, and no "
        "layer alone causes it: use more `bits`, or finetune"
    )


# --- the command


COARSE = ("--bits", "w8a8", "--layer", "fc1=w2a2", "--calibration-passes", 2, "-q")
WARNING = (
    "Warning: the epistemic standard deviation is {} times float's on the calibration rows, and "
    "fc1 costs most: use --layer fc1=w8a8, more --bits, or finetune\n"
)


def test_compile_says_so(qbnnc_command: Runner) -> None:
    folder = Path(qbnnc_command.folder)
    format.save(ensemble(), folder / "net.qbnn")
    loud = qbnnc_command("compile", "net.qbnn", "-o", "a.qbnn", *COARSE)
    quiet = qbnnc_command("compile", "net.qbnn", "-o", "b.qbnn", *COARSE, "--no-spread-check")
    assert (loud.code, loud.out, quiet.code, quiet.out, quiet.err) == (0, "", 0, "", "")
    (ratio,) = re.findall(r"[\d.]+(?= times)", loud.err)
    assert loud.err == WARNING.format(ratio)
    assert float(ratio) > 1.2
    assert (folder / "a.qbnn").read_bytes() == (folder / "b.qbnn").read_bytes()


def test_compile_warns_in_python(tmp_path: Path) -> None:
    layers = {"fc1": "w2a2"}
    with pytest.warns(SpreadWarning, match="`layers=fc1=w8a8`") as caught:
        qbnnc.compile(ensemble(), tmp_path / "a.qbnn", bits="w8a8", layers=layers)
    assert caught[0].filename == __file__
    qbnnc.compile(ensemble(), tmp_path / "b.qbnn", bits="w8a8", layers=layers, spread_check=False)
