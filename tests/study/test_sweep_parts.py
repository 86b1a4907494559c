"""The parts of a sweep: the plan, the file it grows in, and what is printed."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbnnc.cli.networks import parse_networks
from qbnnc.ir.head import Task
from qbnnc.passes.options import Bits
from qbnnc.study.plan import (
    Plan,
    full_grid,
    in_order,
    jobs,
    paper_grid,
    parse_bits,
    parse_widths,
)
from qbnnc.study.results import Header, Precision, Result, read_rows
from qbnnc.study.store import check_output, open_store
from qbnnc.study.terminal import failures, tables
from qbnnc.support.errors import FileError, UserError
from qbnnc.support.text import table

WIDTHS = st.sets(st.integers(2, 8), min_size=1).map(sorted)
HEADER = Header("a study", "MC dropout", Task.CLASSIFICATION, "digest", {}, {"--samples": "5"})


def plan_of(bits: tuple[Bits, ...], seeds: int = 2) -> Plan:
    networks = ("b", "a")
    return Plan(networks, {"b": True, "a": False}, bits, tuple(Precision), tuple(range(seeds)))


def result(key: str, **more: Any) -> Result:
    made = Result(key, "net", "MC dropout", Precision.PTQ, 8, 7, 0, 5, {"error": 0.25})
    return replace(made, **more)


def results_of(plan: Plan) -> list[Result]:
    return [
        result(
            item.key,
            network=item.network,
            precision=item.precision,
            weights=item.bits and item.bits.weights,
            activations=item.bits and item.bits.activations,
            seed=item.seed,
        )
        for item in plan.items()
    ]


def test_the_papers_grid() -> None:
    grid = paper_grid(range(3, 9), range(3, 8))
    assert " ".join(map(str, grid)) == "w8a7 w7a7 w6a7 w5a7 w4a7 w3a7 w8a6 w8a5 w8a4 w8a3"


@given(WIDTHS, WIDTHS)
def test_grids(weights: list[int], activations: list[int]) -> None:
    full, few = full_grid(weights, activations), paper_grid(weights, activations)
    assert len(set(full)) == len(full) == len(weights) * len(activations)
    assert len(set(few)) == len(few) == len(weights) + len(activations) - 1
    assert set(few) <= set(full)
    assert full[0] == few[0] == Bits(max(weights), max(activations))


def test_widths() -> None:
    assert parse_widths("--weights-bits", " 3..5, 8") == (8, 5, 4, 3)
    assert parse_bits("w4a4,w8a7,W4A4") == (Bits(8, 7), Bits(4, 4))
    for wrong in ("", "9", "1..3", "5..3", "3-5", "a", "3..", "3,,4"):
        with pytest.raises(UserError, match=r"^--weights-bits '.*': write numbers of bits"):
            parse_widths("--weights-bits", wrong)


@given(WIDTHS, WIDTHS, st.integers(1, 3))
def test_jobs_hold_every_item_once(weights: list[int], activations: list[int], seeds: int) -> None:
    plan = plan_of(full_grid(weights, activations), seeds)
    items = list(plan.items())
    assert len({item.key for item in items}) == len(items)
    grouped = jobs(items)
    assert sorted(i.key for job in grouped for i in job.items) == sorted(i.key for i in items)
    for job in grouped:
        same = {(i.network, i.precision, i.bits) for i in job.items}
        assert len(same) == 1
        assert len(job.items) == 1 or job.items[0].precision is Precision.PTQ
    assert len([j for j in grouped if j.items[0].precision is Precision.PTQ]) == (
        2 * len(weights) * len(activations)
    )


def test_what_is_not_random_has_one_seed_unless_it_is_trained() -> None:
    seeds = {
        (i.network, i.precision): 0 for i in plan_of((Bits(),), 3).items() if i.seed == 2
    }  # fmt: skip
    assert set(seeds) == {("b", p) for p in Precision} | {("a", Precision.QAT)}


@given(WIDTHS, WIDTHS, st.randoms(use_true_random=False))
def test_results_get_the_order_of_a_plan(
    weights: list[int], activations: list[int], rng: random.Random
) -> None:
    plan = plan_of(full_grid(weights, activations))
    ordered = results_of(plan)
    mixed = list(ordered)
    rng.shuffle(mixed)
    assert list(in_order(mixed, plan.networks)) == ordered


def test_a_line_is_whole_or_not_there(tmp_path: Path) -> None:
    """The file is cut at every byte after its header, as a kill might, and gone on with."""
    path, results = tmp_path / "s.jsonl", [result(f"net/é{n}", seed=n) for n in range(3)]
    with open_store(path, HEADER) as store:
        for one in results:
            store.add(one)
    whole = path.read_bytes()
    starts = [i + 1 for i, byte in enumerate(whole) if byte == ord("\n")]
    for cut in range(starts[0], len(whole) + 1, 7):
        path.write_bytes(whole[:cut])
        with open_store(path, HEADER) as store:
            held = store.results()
            assert list(held) == results[: sum(start <= cut for start in starts) - 1]
            for one in results[len(held) :]:
                store.add(one)
        assert path.read_bytes() == whole


def test_one_sweep_a_file(tmp_path: Path) -> None:
    pytest.importorskip("fcntl", reason="no file locks on this system")
    path = tmp_path / "s.jsonl"
    with (
        open_store(path, HEADER),
        pytest.raises(FileError, match="another sweep is writing"),
        open_store(path, HEADER),
    ):
        pass
    with open_store(path, HEADER) as store:
        assert store.results() == ()


def test_other_studies_are_refused_with_what_differs(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    with open_store(path, HEADER):
        pass
    check_output(path, HEADER)
    other = replace(HEADER, digest="other", data={"--samples": "6", "--task": "regression"})
    for opened in (lambda: check_output(path, other), lambda: open_store(path, other).__enter__()):
        with pytest.raises(FileError, match=r"--samples 5, now 6; --task not given, now regress"):
            opened()


@pytest.mark.parametrize("content", [b"", b"no newline", b"text\n", b'{"kind": "result"}\n', b"\n"])
def test_files_that_are_no_study(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "s.jsonl"
    path.write_bytes(content)
    with pytest.raises(FileError, match=r"s\.jsonl"):
        check_output(path, HEADER)
    with pytest.raises(FileError, match=r"s\.jsonl"), open_store(path, HEADER):
        pass
    assert path.read_bytes() == content


def test_outputs_that_cannot_be(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere" / "s.jsonl"):
        with pytest.raises(FileError, match="cannot be"):
            check_output(path, HEADER)


def test_a_failed_result_may_be_replaced(tmp_path: Path) -> None:
    path, failed = tmp_path / "s.jsonl", result("net/ptq/w8a7/seed0", metrics={}, error="bad")
    with open_store(path, HEADER) as store:
        store.add(failed)
        store.add(replace(failed, metrics={"error": 0.5}, error=None))
        assert len(store.finish(["net"])) == 1
    assert len(read_rows(path)) == 2


def test_tables_fit_a_terminal() -> None:
    wide = [
        result(f"k{n}", seed=n, metrics=dict.fromkeys(("error", "nll", "ece", "ape"), 0.12345 + n),
               ood={"ape": 1.0 + n}) for n in range(3)
    ]  # fmt: skip
    bad = result("k3", seed=3, metrics={}, error="it broke")
    inf = replace(wide[0], activations=3, metrics={"error": 0.9, "nll": float("inf")})
    (made,) = tables(Task.CLASSIFICATION, [*wide, bad, inf])
    text = table(made.header, made.lines)
    assert max(map(len, text.splitlines())) <= 80
    assert made.title == "net: MC dropout, L = 5, 4 seeds"
    assert made.header == ("", "error %", "NLL", "ECE %", "aPE", "OOD aPE")
    assert made.lines[0] == (
        "ptq w8a7 *", "112.34±100.00", "1.123±1.000", "112.34±100.00", "1.123±1.000", "2.000±1.000"
    )  # fmt: skip
    assert made.lines[1][1:3] == ("90.00", "inf")
    assert failures([*wide, bad, inf]) == ["net ptq w8a7: it broke"]


def test_networks_and_their_options() -> None:
    found = parse_networks(
        ["mcd=a/lenet.pt", "b/bbb.pt"],
        ["models:Net", "mcd=models:Dropout"],
        ["width=8", "mcd=p=0.2,q=1"],
        ["mcd=active"],
        False,
    )
    assert {name: network.source for name, network in found.items()} == {
        "mcd": "a/lenet.pt", "bbb": "b/bbb.pt"
    }  # fmt: skip
    options = found["mcd"].options, found["bbb"].options
    assert [o.factory for o in options] == ["models:Dropout", "models:Net"]
    assert [o.arguments for o in options] == [{"width": 8, "p": 0.2, "q": 1}, {"width": 8}]
    assert [o.dropout for o in options] == ["active", None]


@pytest.mark.parametrize(
    ("models", "factories", "dropouts", "message"),
    [
        (["a.pt", "b/a.pt"], [], [], "a second network called 'a'"),
        (["=a.pt"], [], [], "write NAME=MODEL"),
        (["a.pt"], ["x:A", "y:B"], [], "--model 'y:B': given twice"),
        (["a.pt"], ["b=x:A"], [], "no network is called 'b'; there is a"),
        (["a.pt"], ["a=x:A", "a=y:A"], [], "given twice for a"),
        (["a.pt"], [], ["on"], "--dropout 'on': choose one of active, off"),
    ],
)
def test_wrong_networks(
    models: list[str], factories: list[str], dropouts: list[str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        parse_networks(models, factories, [], dropouts, False)
