"""`qbnnc bench` and `qbnnc warmup`. No test asserts a time."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

import qbnnc
from qbnnc.bench.baselines import COMPILED, EAGER, LOWER_BOUND, FloatNetwork
from qbnnc.bench.timing import Contender, ratio, take_turns
from qbnnc.loading.sources import float_model
from tests import graphs
from tests.commands import Command
from tests.conftest import DATA


def test_contenders_take_turns() -> None:
    calls: list[str] = []
    times = take_turns({n: partial(calls.append, n) for n in "ab"}, 0.0)
    assert calls == ["a", "b"] * 4  # once before, and three turns
    assert [len(its) for its in times.values()] == [3, 3]
    take_turns({"c": lambda: calls.append("c")}, 0.0, called="c")
    assert calls.count("c") == 3


def test_slow_contenders_sit_out(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, calls = [0.0], list[str]()
    monkeypatch.setattr("qbnnc.bench.timing.time.perf_counter", lambda: clock[0])

    def contender(name: str, seconds: float) -> Contender:
        def call() -> None:
            calls.append(name)
            clock[0] += seconds

        return call

    times = take_turns({"slow": contender("slow", 6.0), "fast": contender("fast", 1.0)}, 24.0)
    assert [len(its) for its in times.values()] == [2, 12]
    assert "".join(name[0] for name in calls) == "sf" + "sf" + 5 * "f" + "sf" + 5 * "f"
    times = take_turns({"slow": contender("slow", 6.0), "fast": contender("fast", 1.0)}, 0.0)
    assert [len(its) for its in times.values()] == [1, 3]


def test_a_clock_measures_the_calls_and_warm_ones_do_not_count() -> None:
    calls, ticks = list[str](), iter(range(100))
    measured = take_turns(
        {n: partial(calls.append, n) for n in "ab"},
        0.0,
        called="ab",
        clock=lambda: next(ticks) / 1000,
        warm=True,
    )
    assert calls == ["a", "b", *2 * ["a", "a", "b", "b"]]
    assert measured == {"a": pytest.approx([0.001] * 3), "b": pytest.approx([0.001] * 3)}


def test_long_calls_are_not_made_twice() -> None:
    calls, ticks = list[str](), iter(range(100))
    take_turns({"a": partial(calls.append, "a")}, 0.0, clock=lambda: next(ticks) / 1.0, warm=True)
    assert calls == ["a"] * 4


def test_ratio_is_of_the_medians_and_spread_of_the_quartiles() -> None:
    found = ratio([2, 4, 6, 8, 100], [1, 1, 2, 3, 4])
    assert (found.median, found.low, found.high) == (3.0, 4 / 3, 8.0)
    assert str(found) == "3.00 (1.33-8.00)"


def test_artefacts_beside_each_other(
    qbnnc_command: Command, artefacts: Path, demo: Path, tmp_path: Path
) -> None:
    files = ("lenet.qbnn", "lenet.onnx")
    for file in files:
        shutil.copy(artefacts / file, tmp_path)
    more = ("--batch", "1,2", "--samples", 2, "--seconds", 0, "--threads", "1,all")
    shown = qbnnc_command("bench", *files, *more)
    assert shown.code == 0, shown.err
    lines = shown.out.splitlines()
    assert lines[1].split()[0] == "artefact"
    assert all(len(line) <= 80 for line in lines)
    made = qbnnc_command("bench", *files, *more, "--input", f"{demo / 'fashion.npz'}:x", "--json")
    found = json.loads(made.out)
    assert len(found["rows"]) == len(lines) - 2
    first, second, *_ = found["rows"]
    assert first["artefact"] == files[0]
    assert second["turns"] >= 3
    assert first["ratio"].startswith("1.00 ")
    assert "onnxruntime" in found["machine"]


@pytest.mark.slow
def test_the_float32_network_beside_artefacts(
    qbnnc_command: Command, artefacts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> object:
        raise RuntimeError("no compiler\n\nand much more")

    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: "AVX2")
    monkeypatch.setattr("torch.compile", fails)
    options = ("--batch", 2, "--samples", 2, "--seconds", 0)
    of_what = ("--float", "lenet_mcd.pt", "--model", "tools.models:LeNet_MCD")
    shown = qbnnc_command("bench", artefacts / "lenet.qbnn", *options, *of_what)
    assert shown.code == 0, shown.err
    lines = shown.out.splitlines()
    assert [line.split("  ")[0].strip() for line in lines[-4:-1]] == [LOWER_BOUND, EAGER, COMPILED]
    assert lines[-2].split()[-1] == "-"
    assert lines[-1] == "torch.compile: does not work here (RuntimeError: no compiler)"
    made = qbnnc_command("bench", artefacts / "lenet.qbnn", *options, *of_what, "--json")
    *_, eager, compiled = json.loads(made.out)["rows"]
    assert eager["turns"] == 3
    assert "RuntimeError" in compiled["reason"]


@pytest.mark.slow
def test_nothing_is_compiled_with_avx512(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch 2.13 then writes beyond its memory, and the process may die of it."""

    def never(*_: object, **__: object) -> object:
        raise AssertionError

    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: "AVX512")
    monkeypatch.setattr("torch.compile", never)
    graph = graphs.bayesian_mlp()
    network = FloatNetwork(float_model((graph,), None), 2)
    found = network.rivals(graphs.inputs(graph, rows=2), 1)
    assert set(found.calls) == {LOWER_BOUND, EAGER}
    assert "AVX-512" in found.reasons[COMPILED]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--batch", "0"), "--batch"),
        (("--batch", "1,x"), "write whole numbers"),
        (("--threads", "some"), "--threads 'some'"),
        (("--input", "nothing.npy"), "nothing.npy"),
        (("--float", "nothing.pt"), "nothing.pt"),
        (
            (
                *2 * ("--float", "lenet_mcd.pt"),
                "--model",
                "tools.models:LeNet_MCD",
                "--samples",
                "3",
            ),
            "its 2 members do not divide 3 samples",
        ),
        (("--float", "lenet_mcd.pt"), "lenet_mcd.pt: holds weights without the network"),
    ],
)
def test_wrong_options(
    qbnnc_command: Command, artefacts: Path, options: tuple[str, ...], says: str
) -> None:
    failed = qbnnc_command("bench", artefacts / "lenet.qbnn", *options)
    assert failed.code == 2
    assert says in failed.err


def test_rows_of_the_wrong_shape(qbnnc_command: Command, artefacts: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "flat.npy", np.zeros((3, 5), np.float32))
    failed = qbnnc_command("bench", artefacts / "lenet.qbnn", "--input", tmp_path / "flat.npy")
    assert failed.code == 2
    assert "[batch, 1, 28, 28]" in failed.err


def test_warm_kernels_are_found(qbnnc_command: Command) -> None:
    qbnnc_command("warmup")
    said = qbnnc_command("warmup")
    assert said.code == 0
    assert " for " in said.out
    assert qbnnc_command("warmup", "-q").out == ""


def test_float_that_is_not(qbnnc_command: Command, artefacts: Path) -> None:
    compiled = artefacts / "lenet.qbnn"
    failed = qbnnc_command("bench", compiled, "--float", compiled)
    assert failed.code == 2
    assert "not float32 any more; give the network" in failed.err
    other = ("--float", artefacts / "mlp_float.qbnn")
    with np.load(DATA / "diabetes.npz") as diabetes:
        x = torch.from_numpy(diabetes["x_train"][:2])
    qbnnc.save(torch.nn.Linear(x.shape[1], 1), artefacts / "mlp_float.qbnn", x)
    failed = qbnnc_command("bench", compiled, *other)
    assert failed.code == 2
    assert "mlp_float.qbnn" in failed.err
