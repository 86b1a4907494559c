"""Statements of C that repeat are loops, and give the same bits."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from qbnnc.backends.c import to_c
from qbnnc.backends.c.loops import rolled, share_records
from qbnnc.backends.c.program import Constants, Phase, Program
from tests.backends.test_c import CHECKED, CHECKERS, STRICT, needs_compiler, ran
from tests.passes.ranges.test_repeated_steps import quantised
from tests.recurrent_graphs import recurrent


def test_even_steps_are_a_loop() -> None:
    lines = [f"f(a + {4 * t}, b, {10 - t}, {t}u);" for t in range(5)] + ["g();"]
    assert rolled(lines) == [
        "for (int32_t t = 0; t < 5; t++) {",
        "  f(a + (0 + t * 4), b, (10 - t * 1), (0u + (uint32_t)t * 1u));",
        "}",
        "g();",
    ]


def test_two_statements_are_a_body() -> None:
    lines = [line for t in range(4) for line in (f"f({t});", "g(7);")]
    assert rolled(lines) == [
        "for (int32_t t = 0; t < 4; t++) {",
        "  f((0 + t * 1));",
        "  g(7);",
        "}",
    ]


@pytest.mark.parametrize(
    "lines",
    [
        ["f(0);", "f(1);", "f(3);", "f(7);", "f(8);", "f(20);"],  # no even steps
        ["f(0);", "f(1);"],
        [f"f({t}ul);" for t in range(8)],
        [f"{{ int a[{t}]; f(a); }}" for t in range(1, 9)],
        [f"f({t}.5f);" for t in range(8)],
    ],
)
def test_what_is_no_loop(lines: list[str]) -> None:
    assert rolled(lines) == lines


def test_an_uneven_statement_ends_a_loop() -> None:
    lines = [f"f({t});" for t in (0, 2, 4, 6, 8, 11)]
    assert rolled(lines) == [
        "for (int32_t t = 0; t < 5; t++) {",
        "  f((0 + t * 2));",
        "}",
        "f(11);",
    ]


def test_records_are_shared_where_those_of_all_members_are_equal() -> None:
    programs = [Program(Constants(), 2) for _ in range(2)]
    for number, program in enumerate(programs):
        for value in (1, 1, number, 1):
            name = program.record("qb_walk", [value])
            program.step(Phase.ROW, f"f({name});")
    share_records(programs)
    assert [len(program.records) for program in programs] == [2, 2]
    texts = ["f(&qb_part_0[m]);", "f(&qb_part_0[m]);", "f(&qb_part_1[m]);", "f(&qb_part_0[m]);"]
    assert [step.text for step in programs[1].steps] == texts


@needs_compiler
@pytest.mark.parametrize("drop", [0.0, 0.3])
def test_the_same_bits(tmp_path: Path, drop: float) -> None:
    source = ran(tmp_path, quantised(recurrent(9, drop=drop)), CHECKED, CHECKERS[0])
    assert "for (int32_t t = 0; t < " in source.body


@needs_compiler
@pytest.mark.parametrize("drop", [0.0, 0.3])
def test_code_does_not_grow_with_the_steps(tmp_path: Path, drop: float) -> None:
    """Larger addresses may take a byte more; the statements of a step would take hundreds."""
    short, long = (_code(tmp_path, steps, drop) for steps in (12, 40))
    assert long - short < 4 * (40 - 12)


def _code(folder: Path, steps: int, drop: float) -> int:
    """Bytes of code and constants of the object file."""
    source = to_c(quantised(recurrent(steps, drop=drop)), "net")
    (folder / "net.c").write_text(source.body)
    (folder / "net.h").write_text(source.header)
    command = [CHECKERS[0], *STRICT, "-Os", "-c", "-o", "net.o", "net.c"]
    subprocess.run(command, cwd=folder, check=True)
    run = subprocess.run(["size", "net.o"], cwd=folder, check=True, capture_output=True, text=True)
    return int(run.stdout.splitlines()[1].split()[0])
