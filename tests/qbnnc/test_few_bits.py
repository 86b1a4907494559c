"""The benchmark of fidelity: measures by hand, levers, tables, and a whole run of the command."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from qbnnc.ir.head import Task
from qbnnc.passes.options import Bits
from tools.bench.few_bits.data import Data
from tools.bench.few_bits.levers import DEFAULT, LEVERS, check_levers
from tools.bench.few_bits.measuring import Estimate, Predicted, Statistics, distances
from tools.bench.few_bits.networks import cases
from tools.bench.few_bits.page import check_marks, write_page
from tools.bench.few_bits.rows import FLOAT, Found, Row, mean_error, raised

ROOT = Path(__file__).resolve().parents[2]
TABLES = ("summary", "widths", "levers", "fine-tuning")
PAGE = "".join(
    f"<!-- few-bits {table} -->\nbefore\n<!-- few-bits {table} -->\n" for table in TABLES
)
KL = Estimate(0.01, (0.01, 0.012), (0.009, 0.011))
ONE = Row(
    network="diabetes_bbb",
    bits="w4a4",
    lever=DEFAULT,
    seed=0,
    samples=1000,
    task="regression",
    versions="a version",
    command="the command",
    measures={"kl": (0.01, 0.002), "error": (1.25, 0.01), "rank": (0.9, 0.01)},
    kl=KL,
)


def test_a_regression_by_hand() -> None:
    """Two Gaussians of each row: twice the spread, and means that are moved by 1."""
    rng = np.random.default_rng(0)
    mu = rng.normal(size=(10, 30)) * np.arange(1, 31)
    log_var = np.zeros((10, 30))
    y = np.zeros(30, np.float32)
    x = np.zeros((30, 1), np.float32)
    data = Data(Task.REGRESSION, x, None, x, y, x)

    def predicted(inside: np.ndarray, outside: np.ndarray) -> Predicted:
        of = (Statistics.of((each, log_var), Task.REGRESSION, 5) for each in (inside, outside))
        return Predicted(*of)

    found = distances(predicted(mu, 9 * mu), predicted(1 + 2 * mu, mu), data)
    m, v = mu.mean(axis=0), mu.var(axis=0)
    n, w = 1 + 2 * m, 4 * v + 1
    kl = np.log(w / (v + 1)) / 2 + ((v + 1) + (n - m) ** 2) / (2 * w) - 1 / 2
    assert found["kl"].value == pytest.approx(kl.mean(), rel=1e-4)
    assert found["spread"].value == pytest.approx(2)
    assert found["rank"].value == pytest.approx(1)
    assert found["error"].value == pytest.approx(np.sqrt((n**2).mean() / (m**2).mean()))
    wins = np.mean(np.sqrt(v)[:, None] > 2 * np.sqrt(v)) - np.mean(
        9 * np.sqrt(v)[:, None] > np.sqrt(v)
    )
    assert found["ood"].value == pytest.approx(wins)
    assert len(found["kl"].without_group) == 5
    without_first = kl[np.arange(30) % 10 != 0].mean()
    assert found["kl"].without_block[0] == pytest.approx(without_first, rel=1e-3)


def test_classes_by_hand() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 10, 20, 3))
    y = rng.integers(0, 3, 20)
    x = np.zeros((20, 1), np.float32)
    data = Data(Task.CLASSIFICATION, x, None, x, y, x)

    def softmax(z: np.ndarray) -> np.ndarray:
        p: np.ndarray = np.exp(z) / np.exp(z).sum(axis=-1, keepdims=True)
        return p

    def information(p: np.ndarray) -> np.ndarray:
        h = [-(q * np.log(q)).sum(axis=-1) for q in (p.mean(axis=0), p)]
        mutual: np.ndarray = h[0] - h[1].mean(axis=0)
        return mutual

    reference, other = (
        Predicted(*(Statistics.of((z,), Task.CLASSIFICATION, 5) for _ in range(2)))
        for z in (first, second)
    )
    found = distances(reference, other, data)
    p, q = softmax(first), softmax(second)
    kl = (p.mean(axis=0) * np.log(p.mean(axis=0) / q.mean(axis=0))).sum(axis=1)
    assert found["kl"].value == pytest.approx(kl.mean())
    assert found["spread"].value == pytest.approx(information(q).mean() / information(p).mean())
    wrong = [(each.mean(axis=0).argmax(axis=1) != y).mean() for each in (p, q)]
    assert found["error"].value == pytest.approx(100 * (wrong[1] - wrong[0]))


def test_the_jackknife_of_a_mean_is_its_standard_error() -> None:
    values = np.array([1.0, 2.0, 4.0, 8.0])
    left_out = tuple((values.sum() - values) / 3)
    error = values.std(ddof=1) / 2
    assert Estimate(values.mean(), (), left_out).error == pytest.approx(error)
    both = Estimate(values.mean(), left_out, left_out)
    assert both.error == pytest.approx(np.sqrt(2) * error)
    assert both.error_of_difference(both) == 0


def test_several_seeds_have_the_larger_error() -> None:
    assert mean_error((1.0,), (0.3,)) == pytest.approx(0.3)
    assert mean_error((1.0, 1.0), (0.3, 0.4)) == pytest.approx(0.25)
    assert mean_error((0.0, 4.0), (0.3, 0.4)) == pytest.approx(2)


def test_the_last_lever_is_the_default() -> None:
    check_levers()
    assert len({lever.name for lever in LEVERS}) == len(LEVERS)


def test_the_tables_of_a_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    check_marks(page)
    ceiling = replace(ONE, bits="", lever=FLOAT, measures={"kl": (0.0003, 0.0001)})
    step = replace(ONE, lever=LEVERS[0].name, measures={"rank": (0.5, 0.1), "spread": (2.0, 0.1)})
    newer = replace(ONE, measures=dict(ONE.measures) | {"error": (1.5, 0.0)})
    few = replace(ONE, samples=50, measures={"error": (7.0, 0.0)})
    write_page(page, [ONE, few, ceiling, step, newer])
    text = page.read_text()
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    title = "diabetes, MLP BBB"
    assert [title, "w4a4", "1.500", "0.0100 ± 0.0020", "0.900 ± 0.010", "-", "-", "-"] in lines
    assert [title, "float, other seed", "-", "0.0003 ± 0.0001", *"----"] in lines
    assert [title, "0.500 / 2.00", *["-"] * (len(LEVERS) - 2), "0.900 / -"] in lines
    summary = next(cells for cells in lines if cells[:1] == ["w4a4"])
    assert summary[1:4] == [f"0 of 1, worst 1.500 ({title})", "-", f"0 of 1, worst 0.900 ({title})"]
    assert "it holds." in text
    assert text.count("before") == 1  # fine-tuning has no rows
    page.write_text(PAGE.replace("widths", "others"))
    with pytest.raises(SystemExit, match="has no two marks <!-- few-bits widths -->"):
        check_marks(page)


def test_more_bits_that_raise_kl_are_found() -> None:
    worse = Estimate(0.02, (0.02, 0.022), (0.019, 0.021))
    more = replace(ONE, bits="w4a7", kl=worse)
    other = replace(ONE, bits="w3a7", kl=Estimate(0.0, (), ()))  # incomparable with w4a4
    found = Found([ONE, more, other])
    widths = ["w4a7", "w4a4"]
    assert [each[:3] for each in raised(found, widths)] == [("diabetes_bbb", "w4a4", "w4a7")]
    noisy = replace(more, kl=Estimate(0.02, (0.0, 0.1), (0.019, 0.021)))
    assert list(raised(Found([ONE, noisy]), widths)) == []


def test_widths_are_those_of_the_compiler() -> None:
    from tools.bench.few_bits.__main__ import LEVER_WIDTHS, QUICK, WIDTHS

    assert all(str(Bits.parse(bits)) == bits for bits in (*WIDTHS, *LEVER_WIDTHS))
    assert {case.name for case in cases()} >= set(QUICK)
    check_marks(ROOT / "docs" / "explanation" / "few-bits.md")


@pytest.mark.slow
def test_a_run_is_resumed_and_rendered(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)

    def run(*more: str) -> list[str]:
        command = [sys.executable, "-m", "tools.bench.few_bits", "--quick", "-o", str(page), *more]
        paths = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": paths},
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    assert len(run()) > 20
    assert run("--resume") == []
    made = page.read_text()
    assert made.count("diabetes, MLP MCD") > 5
    page.write_text(PAGE)
    run("--render")
    assert page.read_text() == made
