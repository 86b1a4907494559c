"""The report of a study: parsed and, where there is a browser, laid out on a phone."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import matplotlib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbnnc.ir.head import Task
from qbnnc.study.report import write_report
from qbnnc.study.report.axis import window
from qbnnc.study.report.grouping import Statistic, group, statistic
from qbnnc.study.report.summary import findings
from qbnnc.study.results import (
    Header,
    Result,
    Row,
    Sensitivity,
)
from qbnnc.support.errors import FileError, UserError
from tests.study.pages import Page
from tests.study.report_rows import BITS, FLOAT, HEADER, PTQ, result, rows


def page(rows: Iterable[Row], path: Path, title: str = "A study") -> Page:
    write_report(rows, path, title)
    return Page(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(rows(), path, "A study")
    return path


@pytest.fixture(scope="module")
def full(file: Path) -> Page:
    return Page(file.read_text(encoding="utf-8"))


def test_nothing_is_loaded(file: Path, full: Page) -> None:
    document = file.read_text(encoding="utf-8")
    assert not re.search(r"https?:|//\w|@import|<script|<link|<iframe|<!ENTITY", document)
    assert all(target.startswith("#") for target in full.attributes("href"))
    assert all(source.startswith("data:image/svg+xml;") for source in full.attributes("src"))
    assert {tag for tag, attributes in full.tags if "src" in attributes} == {"img"}
    assert any("default-src 'none'" in content for content in full.attributes("content"))


def test_links_find_their_targets(full: Page) -> None:
    ids = Counter(full.attributes("id"))
    assert max(ids.values()) == 1
    assert {target[1:] for target in full.attributes("href")} <= ids.keys()


def test_every_drawing_is_labelled(full: Page) -> None:
    labels = {"Activation bits", "Weight bits", "Confidence", "Predictive entropy, nats"}
    labels |= {"Rotation, degrees", "Increase of NLL, nats"}
    assert len(full.charts) == 2 * 4 + 2 + 2 * 5 + 1 + 1
    for chart in full.charts:
        assert set(chart.texts) & labels
        assert len(chart.texts) > 5
    assert labels <= {text for chart in full.charts for text in chart.texts}
    assert all(len(chart.alt) > 30 for chart in full.charts)
    assert any("LeNet, PTQ: 3: 40, 5: 0.504" in chart.alt for chart in full.charts)


def test_tables_and_figures_can_be_read_aloud(full: Page) -> None:
    tags = Counter(tag for tag, _ in full.tags)
    assert tags["figure"] == tags["figcaption"] == 6
    assert tags["table"] == tags["caption"] == 6
    assert all(a.get("scope") in ("col", "row") for tag, a in full.tags if tag == "th")
    assert ("html", {"lang": "en"}) in full.tags
    assert "width=device-width, initial-scale=1" in full.attributes("content")


def test_what_the_rows_say_is_there(full: Page) -> None:
    for text in (
        "n = 2 seeds", "Triangles at the edge", "conv1: <b>overflow</b>", "ab12", "f.npz",
        "4.1 kB", "MACs of a row", "1.23e5", "CPU ms of a row", "unheard of",
        "0.5005 ± 0.00071", "Weights at 8 bits.",
    ):  # fmt: skip
        assert text in full.text, text


@pytest.mark.few(0)
def test_the_same_rows_give_the_same_bytes(file: Path, tmp_path: Path) -> None:
    """Whatever the user's own settings of matplotlib, which stay."""
    with matplotlib.rc_context({"font.size": 30.0, "lines.markeredgewidth": 5.0}):
        write_report(rows(), tmp_path / "again.html", "A study")
        assert matplotlib.rcParams["font.size"] == 30.0
    assert (tmp_path / "again.html").read_bytes() == file.read_bytes()


def test_findings() -> None:
    found = dict(findings(group(rows())))
    assert found["LeNet, PTQ"] == (
        "NLL stays within 1 % of float down to 5 activation bits (weights at 8 bits) and "
        "8 weight bits (activations at 7 bits)."
    )
    assert found[""] == "1 item has no result; Failures says why."
    alone = group([result("a", FLOAT, None, 0, -2.0), result("a", PTQ, (8, 7), 0, -1.97)])
    assert [text for _, text in findings(alone)][1:] == [
        "NLL is within 1 % of float at none of the bits tried; nearest is w8a7 with −1.97 nats, "
        "float has −2.00."
    ]


def test_statistics() -> None:
    assert statistic([1.0, None, 2.0, 3.0]) == Statistic(2.0, 1.0, 3)
    assert statistic([math.inf, 1.0]) == Statistic(math.inf, None, 2)
    assert statistic([None]) is None


def test_values_far_off_leave_the_axis() -> None:
    assert window([7.2, 7.9, 9.6, 22.5, 90.0], [7.2, 7.4]).high == 9.6
    assert window([0.3, math.inf, math.nan, 0.31]) == window([0.3, 0.31])
    assert window([-1e9, 5.0, 5.5], [5.0]).low == 5.0
    assert window([math.nan]).height == 1.0


@given(st.lists(st.floats(), max_size=8), st.lists(st.floats(-1e9, 1e9), max_size=3))
def test_a_window_holds_what_it_must(values: list[float], always: list[float]) -> None:
    found = window([*values, *always], always)
    assert -1e100 < found.low <= found.high < 1e100
    assert all(found.side(v) == 0 for v in always)
    shown = [v for v in [*values, *always] if found.side(v) == 0]
    assert not shown or (found.low, found.high) == (min(shown), max(shown))


@pytest.mark.few(1)
@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, 1e308, 0.0, 5e-324])
def test_any_number_can_be_drawn(tmp_path: Path, value: float) -> None:
    some: list[Row] = [HEADER]
    for seed in range(2):
        some += [result("a", FLOAT, None, seed, value)]
        some += [result("a", PTQ, bits, seed, value) for bits in BITS[:2]]
    some += [Sensitivity("a", "l", 4, 4, {"nll": value}, {"nll": 1.0})]
    found = page(some, tmp_path / "a.html")
    paths = [path for chart in found.charts for path in chart.paths]
    assert not any("nan" in path or "inf" in path for path in paths)
    assert any(paths)
    assert len(found.charts) == 4 + 1 + 3 + 1 + 1


@pytest.mark.few(1)
@pytest.mark.parametrize(
    "name",
    ["</svg><script>x</script>", "$\\alpha_{$", "a\0b\x1b", "\ud800", "网络 '\"&amp;", "x" * 99],
)
def test_names_are_text(tmp_path: Path, name: str) -> None:
    some: list[Row] = [Header(name, name, Task.CLASSIFICATION, name, {name: name}, {name: name})]
    some += [result(name, PTQ, bits, 0, 0.5) for bits in BITS[:2]]
    some += [Sensitivity(name, name, 4, 4, {"nll": 1.0, name: 1.0}, {"nll": 0.5, name: 1.0})]
    found = page(some, tmp_path / "a.html", name)
    assert not any(tag == "script" for tag, _ in found.tags)
    assert found.text.count(name[:3] if name.isprintable() else "") > 5
    assert name not in found.attributes("id")


def test_a_long_title_is_not_cut(tmp_path: Path) -> None:
    """The drawing of a short one is 3.75 inches wide, a longer title widens it."""
    widths = []
    for name in ("a", "W" * 40):
        found = page([HEADER, result(name, PTQ, (8, 7), 0, 0.5)], tmp_path / "a.html")
        widths.append(float(found.charts[0].elements[0].attrib["viewBox"].split()[2]))
    assert widths[0] == 270
    assert widths[1] > 300


def test_little_is_enough(tmp_path: Path) -> None:
    only_failures: list[Row] = [
        HEADER,
        Result("k", "a", "", PTQ, 2, 2, 0, 20, error="it is too small"),
    ]
    found = page(only_failures, tmp_path / "a.html")
    assert "it is too small" in found.text
    assert not found.charts
    regression = [Result(f"{w}", "a", "", PTQ, w, w, 0, 20, {"rmse": w}) for w in (8, 4)]
    found = page(regression, tmp_path / "a.html")
    assert [chart.texts[-1] for chart in found.charts] == ["RMSE"]
    assert {"w4a4", "w8a8", "RMSE, target units"} <= set(found.charts[0].texts)


def test_what_cannot_be_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.html"
    with pytest.raises(UserError, match="no results to report yet"):
        write_report([HEADER], path, "A")
    other = Header("b", "", Task.REGRESSION, "")
    with pytest.raises(UserError, match="a report for each"):
        write_report([HEADER, other, result("a", PTQ, (8, 7), 0, 1.0)], path, "A")
    with pytest.raises(FileError, match="cannot be written"):
        write_report([result("a", PTQ, (8, 7), 0, 1.0)], tmp_path / "none" / "a.html", "A")
    for missing in ("matplotlib", "jinja2"):
        monkeypatch.setattr(
            "qbnnc.study.report.find_spec", lambda name, gone=missing: None if name == gone else 1
        )
        with pytest.raises(UserError, match=rf"needs {missing}; .*pip install 'qbnnc\[study\]'"):
            write_report(rows(), path, "A")
    assert list(tmp_path.iterdir()) == []


def test_matplotlib_is_loaded_only_to_write() -> None:
    program = "import qbnnc.study.report, sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert {"jinja2", "matplotlib", "torch"} & set(done.stdout.split()) == set()
