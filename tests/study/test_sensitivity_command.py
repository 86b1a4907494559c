"""The command `qbnnc sensitivity`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypedDict

import numpy as np
import pytest

from qbnnc.ir import format
from qbnnc.study.report import write_report
from qbnnc.study.results import Sensitivity, read_rows
from tests.commands import Runner, with_options
from tests.study.sweeps import classifier, labelled


class Costs(TypedDict):
    """The part of --json that the tests read."""

    bits: str
    baseline: dict[str, float]
    layers: list[dict[str, object]]
    costs: list[dict[str, object]]


@pytest.fixture
def net(qbnnc_command: Runner) -> Runner:
    """`qbnnc` beside net.qbnn, calib.npy, data.npz and ood.npy."""
    format.save(classifier(), "net.qbnn")
    (x, y), (calib, _) = labelled(60, 1), labelled(120)
    np.savez("data.npz", x=x, y=y)
    np.save("calib.npy", calib)
    np.save("ood.npy", 9 * x)
    return qbnnc_command


ASKED = ("sensitivity", "net.qbnn", "--data", "data.npz", "--calib", "calib.npy")
CLASSES = ("--task", "classification", "--samples", 4)


def test_the_table_fits_80_columns(net: Runner) -> None:
    more = ("--ood", "ood.npy", "--tried", "w2,w4,a2", "--seed", 1, "--seed", 2)
    result = net(*ASKED, *CLASSES, *more)
    assert result.code == 0, result.err
    lines = result.out.splitlines()
    assert max(map(len, lines)) <= 80
    assert "L = 4, seed 1, 2; all layers at w8a7" in result.out
    rows = [line.lstrip("> ").split()[:2] for line in lines if " B " in line][1:]
    assert rows == [
        ["(input)", "a2"], ["a", "w2"], ["a", "w4"], ["a", "a2"], ["b", "w2"], ["b", "w4"]
    ]  # fmt: skip
    assert sum(line.startswith("> ") for line in lines) == 3


def test_json_has_sizes_and_all_metrics(net: Runner) -> None:
    result = net(*ASKED, *CLASSES, "--tried", "a2", "--rows", 20, "--ood", "ood.npy", "--json")
    made: Costs = json.loads(result.out)
    assert made["bits"] == "w8a7,input=a8"
    assert made["layers"][1] == {"name": "a", "weights": 96, "activations": 16}
    assert [cost["layer"] for cost in made["costs"]] == ["(input)", "a"]
    assert [cost["bits_saved"] for cost in made["costs"]] == [36, 80]
    assert {"nll", "ape", "error", "ood_ape", "ece", "brier"} < made["baseline"].keys()


def test_rows_are_read_back_and_reported(net: Runner) -> None:
    result = net(*ASKED, *CLASSES, "--tried", "w3,a4", "-o", "s.jsonl", "--json")
    costs: Costs = json.loads(result.out)
    header, *rows = read_rows("s.jsonl")
    found = [row for row in rows if isinstance(row, Sensitivity)]
    assert [(r.layer, r.weights, r.activations) for r in found] == [
        ("(input)", 8, 4), ("a", 3, 7), ("a", 8, 4), ("b", 3, 7)
    ]  # fmt: skip
    assert [dict(r.metrics) for r in found] == [cost["metrics"] for cost in costs["costs"]]
    assert all(dict(row.baseline) == costs["baseline"] for row in found)
    pytest.importorskip("matplotlib")
    write_report([header, *rows], "s.html", "net")
    page = Path("s.html").read_text()
    assert "Sensitivity of the layers of net" in page


def test_only_sensitivities_are_overwritten(net: Runner) -> None:
    asked = (*ASKED, *CLASSES, "--tried", "a2", "--rows", 20, "-o", "s.jsonl")
    assert net(*asked, "-q").code == 0
    assert net(*asked, "-q").code == 0
    header, *rows = Path("s.jsonl").read_text().splitlines(keepends=True)
    for content in ("", "\n", "notes\n", "{}\n", rows[0], header.replace("--tried", "--task")):
        Path("s.jsonl").write_text(content)
        assert net.refused(*asked).startswith("s.jsonl: holds something else than sensitivities")


def test_layers_that_are_set_already_stay(net: Runner) -> None:
    more = ("--layer", "a=w4a5", "--input-bits", 3, "--tried", "w4,a3", "--json")
    made: Costs = json.loads(net(*ASKED, *CLASSES, *more).out)
    pairs = [(cost["layer"], cost["bits"]) for cost in made["costs"]]
    assert pairs == [("a", "w4a3"), ("b", "w4a7")]
    assert made["bits"] == "w8a7,input=a3,a=w4a5"


def test_few_calibration_rows_are_a_warning(net: Runner) -> None:
    np.save("few.npy", labelled(20)[0])
    said = net(*ASKED[:-1], "few.npy", *CLASSES, "--tried", "w2").err
    assert "Warning: 20 calibration rows are few" in said


@pytest.mark.few(4)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--tried", "w4,x4"), "--tried w4,x4: write widths"),
        (("--tried", "w9"), "--tried w9: write widths"),
        (("--tried", ""), "--tried : write widths"),
        (("--tried", "a7"), "--tried a7: a7 is what --bits w8a7 has already"),
        (("--bits", "w8"), "--bits w8: write wNaM"),
        (("--layer", "c=w4a4"), "c: there is no such layer; there are a, b"),
        (("--data", "missing.npz"), "missing.npz: cannot be read"),
        (("--data", "data.npz:x,z"), "data.npz: no array 'z'"),
        (("--task", "regression"), "data.npz:y: the shape is [60]"),
        (("--ood", "data.npz:y"), "data.npz:y: the shape is [60]"),
        (("--calib", "data.npz:y"), "data.npz:y: the shape is [60]"),
        (("--target-std", "0"), "--target-std 0: give a positive number"),
        (("-o", "nowhere/s.jsonl"), "nowhere/s.jsonl: cannot be written"),
    ],
)
def test_wrong_options(net: Runner, options: tuple[str, ...], message: str) -> None:
    assert message in net.refused(*with_options((*ASKED, *CLASSES), *options))


def test_a_task_and_calibration_must_be_known(net: Runner) -> None:
    assert net.refused(*ASKED).startswith("--task: the networks do not say")
    assert net.refused(*ASKED[:4], *CLASSES).startswith("net.qbnn: has no calibration data")


def test_compiled_networks_are_refused(net: Runner, artefacts: Path) -> None:
    said = net.refused("sensitivity", artefacts / "mlp.qbnn", "--data", "data.npz")
    assert said.startswith(f"{artefacts / 'mlp.qbnn'}: quantised already (w8a7,input=a8)")
