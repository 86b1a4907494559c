"""The benchmark's tables: rows that replace others, gaps, marks, and a whole run of the command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tools.bench.contenders import COMPARED, SAMPLES, STATISTICS
from tools.bench.machine import machine
from tools.bench.page import Row, check_marks, tables_of, write_page

ROOT = Path(__file__).resolve().parents[2]
ONE = Row(
    table="native",
    machine="a CPU",
    command="the command",
    case="mlp_mcd",
    batch=1,
    threads=(1,),
    microseconds={SAMPLES: 12.3456, STATISTICS: 123456.7},
    ratios=dict.fromkeys(COMPARED, "2.00 (1.00-3.00)"),
)
PAGE = "before\n<!-- speed native -->\nold\n<!-- speed native -->\nafter\n"


def table(rows: list[Row]) -> list[list[str]]:
    """The cells of the lines of all tables."""
    lines = tables_of(rows).splitlines()
    return [[cell.strip() for cell in text.split("|")[1:-1]] for text in lines if "|" in text]


def test_a_row_has_a_cell_for_each_column() -> None:
    header, rule, row = table([ONE])
    assert len(header) == len(rule) == len(row) == 3 + 2 + len(COMPARED)
    assert row[:4] == ["MLP 13-100-100-100 MCD", "1", "1", "12.35"]
    assert row[header.index("qbnnc predict, us")] == "123457"


def test_an_engine_that_does_not_work_leaves_a_gap() -> None:
    left = {name: ratio for name, ratio in ONE.ratios.items() if name != "torch eager"}
    header, _, row = table([replace(ONE, ratios=left)])
    assert [name for name, cell in zip(header, row, strict=True) if cell == "-"] == ["torch eager"]


def test_the_newest_row_of_a_place_counts() -> None:
    newer = replace(ONE, microseconds={SAMPLES: 7.0, STATISTICS: 8.0}, command="another")
    other = replace(ONE, batch=32)
    text = tables_of([ONE, other, newer])
    assert "12.35" in text.splitlines()[-1]  # batch 32
    assert text.count("MLP") == 2
    assert "    another\n    the command\n" in text


def test_rows_of_another_machine_are_left_out() -> None:
    assert "12.35" not in tables_of([ONE, replace(ONE, machine="new", microseconds={})])


def test_threads_have_a_table_of_their_own() -> None:
    both = replace(
        ONE, threads=(1, 2), microseconds={"1": 10.0, "2": 6.0}, ratios={"1": "1.67 (1.5-1.8)"}
    )
    *_, header, _, row = table([ONE, both])
    assert header[3:] == ["1: us", "2: us", "faster by"]
    assert row[2:] == ["1 and 2", "10", "6", "1.67 (1.5-1.8)"]


def test_the_page_is_changed_between_its_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    check_marks(page, ["native"])
    write_page(page, [ONE, replace(ONE, table="avx2", machine="other")], ["native", "generic"])
    made = page.read_text()
    assert made == PAGE.replace("old", tables_of([ONE]))
    write_page(page, [ONE], ["native"])
    assert page.read_text() == made
    with pytest.raises(SystemExit, match="has no two marks <!-- speed avx2 -->"):
        check_marks(page, ["native", "avx2"])


def test_the_header_names_what_figures_depend_on() -> None:
    said = machine()
    for word in ("cores", "vectors of", "Python 3", "numba", "onnxruntime", "torch"):
        assert word in said


@pytest.mark.slow
def test_a_run_is_resumed_and_rendered(tmp_path: Path) -> None:
    page, rows = tmp_path / "page.md", tmp_path / "page.jsonl"
    page.write_text(PAGE)

    def run(*more: str) -> str:
        options = ("--cases", "mlp_mcd", "--batches", "1", "--threads", "1", "-o", str(page))
        command = [sys.executable, "-m", "tools.bench.speed", "--quick", *options, *more]
        paths = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
        environment = {k: v for k, v in os.environ.items() if k != "QBNNC_ISA"}
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            cwd=ROOT,
            env=environment | {"PYTHONPATH": paths},
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert run().count("| MLP") == 1
    (row,) = [json.loads(text) for text in rows.read_text().splitlines()]
    assert set(row["ratios"]) >= {"onnxruntime int8, bound", "torch eager, rows stacked"}
    assert run("--resume").count("| MLP") == 0
    made = page.read_text()
    page.write_text(PAGE)
    run("--render")
    assert page.read_text() == made
