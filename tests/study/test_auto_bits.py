"""Bits for every layer, by a budget."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import qbnnc
from qbnnc.evaluation.files import evaluate_files
from qbnnc.ir.types import Array
from qbnnc.loading.sources import CalibrationWarning
from qbnnc.passes.mixed_precision.descent import Width, cost_curve, ordered_moves
from qbnnc.passes.mixed_precision.layers import Kind
from qbnnc.passes.options import Bits
from qbnnc.study.sensitivity import Budget, Choice, Layer, choose_bits
from qbnnc.study.terminal import choice_lines
from qbnnc.support.errors import UserError
from tests.study.sweeps import classifier, labelled
from tests.study.test_sensitivity import one_that_matters, truth
from tools.models import MLP_MCD

COSTS = st.floats(0, 10) | st.just(np.inf)


def chosen(budget: str, **more: object) -> Choice:
    """For a network of one easy and one fine layer."""
    model = one_that_matters()
    x, y = truth(model, 500)
    options: dict[str, Any] = {
        "task": "classification",
        "samples": 5,
        "seeds": (0, 1),
    }
    return choose_bits(model, (x, y), budget, calibration=x, **(options | more))


@pytest.mark.few(0)
@pytest.mark.filterwarnings("ignore:90 rows to choose bits by")
def test_the_choice_is_within_the_budget_as_compiled(
    mlp_mcd: MLP_MCD, diabetes: dict[str, Array], tmp_path: Path
) -> None:
    data, x = (diabetes["x_test"], diabetes["y_test"]), diabetes["x_train"]
    choice = choose_bits(
        mlp_mcd, data, "nll+0.5%", calibration=x, task="regression", calibration_passes=2
    )
    path = tmp_path / "m.qbnn"
    compiled = qbnnc.compile(mlp_mcd, path, calibration=x, task="regression", **choice.options)
    found = evaluate_files([path, mlp_mcd], data, task="regression", seeds=(0, 1, 2))
    nll, reference = (one.scores.measures["nll"].mean for one in found)
    assert nll == choice.result["nll"]
    assert reference == choice.reference["nll"]
    assert nll <= reference + 0.005 * abs(reference) == choice.limit
    assert compiled.provenance.bits.startswith("w8a7,input=a")
    for kind in Kind:
        before, after = choice.stored(kind)
        assert after < before


def test_the_layer_that_matters_keeps_its_bits() -> None:
    choice = chosen("nll+0.01")
    bits = {layer.name: its for layer, its in choice.all_bits}
    assert bits["easy"].weights == 2
    assert bits["fine"].weights > 3
    assert choice.layers["easy"] == bits["easy"]
    assert choice.result["nll"] <= choice.limit == pytest.approx(choice.reference["nll"] + 0.01)


@pytest.mark.few(0)
def test_the_same_choice_every_time_and_more_for_a_larger_budget() -> None:
    small, again, large = chosen("nll+0.5%"), chosen("nll+0.5%"), chosen("nll+500%")
    assert small == again
    for kind in Kind:
        assert large.stored(kind)[1] < small.stored(kind)[1]
    assert {bits for _, bits in large.all_bits if _.numbers(Kind.WEIGHTS)} <= {
        Bits(2, 2),
        Bits(2, 7),
    }


def test_the_trace_is_a_bisection() -> None:
    choice = chosen("nll+0.5%")
    within = [step.moves for step in choice.trace if step.within]
    beyond = [step.moves for step in choice.trace if not step.within]
    assert max(within, default=0) + 1 == min(beyond)
    assert all((step.value <= choice.limit) == step.within for step in choice.trace)
    last = next(step for step in choice.trace if step.moves == max(within))
    assert last.value == choice.result["nll"]


def test_what_the_user_set_stays() -> None:
    choice = chosen("nll+500%", bits="w6a6", layers={"easy": "w5a5"}, input_bits=4)
    assert choice.base == Bits(6, 6)
    assert choice.options == {
        "bits": "w6a6", "layers": {"fine": "w2a6", "easy": "w5a5"}, "input_bits": 4
    }  # fmt: skip


def test_auto_begins_at_the_default() -> None:
    assert chosen("nll+500%", bits="auto").base == Bits(8, 7)


def test_an_ensemble_of_pointwise_networks() -> None:
    """Nothing is random; weights are those of both members."""
    x, y = labelled(200)
    choice = choose_bits(
        classifier(dropout=False, members=2),
        (x, y),
        "error+20",
        calibration=x,
        task="classification",
    )
    assert choice.result["error"] <= choice.limit == pytest.approx(choice.reference["error"] + 0.2)
    assert choice.stored(Kind.WEIGHTS)[0] == 8 * 2 * (6 * 16 + 16 * 3)


def test_an_impossible_budget_is_refused_with_figures() -> None:
    with pytest.raises(UserError) as refused:
        chosen("nll+0%", bits="w2a2")
    said = str(refused.value)
    assert said.startswith("`budget` nll+0%: nll is ")
    assert " at w2a2,input=a8 already, " in said
    assert said.endswith("; allow more")


def test_budgets_that_this_network_cannot_have() -> None:
    with pytest.raises(UserError, match="no rmse; choose one of nll, error, ece, brier"):
        chosen("rmse+1%")


def test_an_infinite_metric_has_no_budget() -> None:
    """A pointwise network without a variance gives its targets density 0."""
    x, _ = labelled(200)
    with pytest.raises(UserError, match="nll of the float network is inf; choose another"):
        choose_bits(
            classifier(dropout=False), (x, x[:, :3]), "nll+1%", calibration=x, task="regression"
        )


def test_a_network_without_a_variance_has_a_budget_of_its_error() -> None:
    x, _ = labelled(200)
    choice = choose_bits(
        classifier(dropout=False), (x, x[:, :3]), "rmse+1%", calibration=x, task="regression"
    )
    assert choice.result["rmse"] <= choice.limit
    assert choice.stored(Kind.WEIGHTS)[1] < choice.stored(Kind.WEIGHTS)[0]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nll",
        "nll+",
        "nll+1%%",
        "nll-1%",
        "nll+-1",
        "ape+1",
        "nll+1e3",
        "nll 1%",
        "+1",
        "rank+1",
    ],
)
def test_wrong_budgets(text: str) -> None:
    with pytest.raises(UserError, match=r"`budget` .*write METRIC\+X% or METRIC\+X"):
        Budget.parse(text)


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("nll+1%", -1.98),
        ("nll+0.5", -1.5),
        ("error+.5", 0.105),
        ("ECE + 10%", 0.055),
        ("ece+1.", 0.06),
        ("brier+0", 0.2),
    ],
)
def test_limits(text: str, limit: float) -> None:
    """Relative ones are of the size of the metric; those of percentages are in points."""
    metrics = {"nll": -2.0, "error": 0.1, "ece": 0.05, "brier": 0.2}
    assert Budget.parse(text).limit(metrics) == pytest.approx(limit)


@pytest.mark.parametrize(("text", "limit"), [("kl+.01", 0.01), ("rank-.05", 0.95), ("kl+0", 0)])
def test_limits_beside_the_float_network(text: str, limit: float) -> None:
    """The float network's own KL is 0 and its rank 1, whatever else it has."""
    assert Budget.parse(text).limit({}) == pytest.approx(limit)
    assert str(Budget.parse(text)) == text.replace(".", "0.")


def test_a_rank_must_not_fall_below_its_limit() -> None:
    budget = Budget.parse("rank-.05")
    assert budget.allows(0.96, 0.95)
    assert not budget.allows(0.94, 0.95)
    with pytest.raises(UserError, match="no order; choose another metric, such as kl"):
        budget.value({"kl": 0.1})


@pytest.mark.parametrize("text", ["kl+1%", "rank-5%"])
def test_no_percentage_of_what_compares_already(text: str) -> None:
    with pytest.raises(UserError, match=r"no percentage.*write kl"):
        Budget.parse(text)


@pytest.mark.parametrize("nll", [0.0, 0.0999, -0.05])
def test_a_percentage_of_a_likelihood_near_zero(nll: float) -> None:
    with pytest.raises(UserError, match=r"so near 0 .* give nats, such as nll\+\.01"):
        Budget.parse("nll+1%").limit({"nll": nll})
    assert Budget.parse("nll+.01").limit({"nll": nll}) == pytest.approx(nll + 0.01)
    assert Budget.parse("nll+1%").limit({"nll": 0.2}) == pytest.approx(0.202)


def test_a_budget_is_not_missed_by_rounding() -> None:
    budget = Budget.parse("error+10")
    limit = budget.limit({"error": 0.7})
    assert limit < 0.8
    assert budget.allows(0.8, limit)
    assert not budget.allows(0.8 + 1e-9, limit)
    assert not budget.allows(np.nan, limit)
    assert budget.allows(-2.0, -2.0000000000000004)


def test_few_rows_to_choose_by_are_a_warning() -> None:
    x, y = labelled(199)
    with pytest.warns(CalibrationWarning, match="^199 rows to choose bits by are few: with less"):
        choose_bits(
            classifier(), (x, y), "nll+900%", calibration=x, task="classification", bits="w2a2"
        )


@given(st.dictionaries(st.sampled_from((4, 3, 2)), COSTS), st.integers(5, 8))
def test_curves_never_fall_as_bits_are_taken(measured: Mapping[int, float], width: int) -> None:
    curve = cost_curve(measured, width)
    values = [curve[bits] for bits in range(width, 1, -1)]
    assert values[0] == 0
    assert values == sorted(values)
    for bits, cost in measured.items():
        assert curve[bits] >= cost * (1 - 1e-12)


def test_curves_between_and_above_what_was_measured() -> None:
    curve = cost_curve({4: 0.16, 2: 16.0}, 7)
    assert curve == pytest.approx({7: 0, 6: 0.01, 5: 0.04, 4: 0.16, 3: 1.6, 2: 16})
    assert cost_curve({4: np.inf, 2: np.inf}, 6)[5] == np.inf


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(3, 8), COSTS), min_size=1, max_size=5))
def test_moves_take_every_bit_once_and_the_cheapest_first(
    given_widths: list[tuple[int, int, float]],
) -> None:
    widths = [
        Width(Layer(str(i), numbers, 0), Kind.WEIGHTS, width)
        for i, (numbers, width, _) in enumerate(given_widths)
    ]
    curves = [
        {w: 0.0 if w == width else cost * 4.0 ** (2 - w) for w in range(width, 1, -1)}
        for _, width, cost in given_widths
    ]
    moves = ordered_moves(widths, curves)
    for one in widths:
        own = [move.width for move in moves if move.layer is one.layer]
        assert own == list(range(one.width - 1, 1, -1))
    prices = [move.cost / move.layer.weights for move in moves]
    assert prices == pytest.approx(sorted(prices))


def test_of_free_moves_those_that_save_most_come_first() -> None:
    widths = [Width(Layer(name, size, 0), Kind.WEIGHTS, 4) for name, size in (("a", 2), ("b", 9))]
    moves = ordered_moves(widths, [{4: 0.0, 3: 0.0, 2: 0.0}] * 2)
    assert [(move.layer.name, move.width) for move in moves] == [
        ("b", 3), ("b", 2), ("a", 3), ("a", 2)
    ]  # fmt: skip


def test_the_choice_as_text_fits_80_columns() -> None:
    lines = [line for part in choice_lines(chosen("error+5")) for line in part.splitlines()]
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith("budget error+5: error ")
    assert sum(line.strip().startswith(("(input)", "easy", "fine")) for line in lines) == 3
