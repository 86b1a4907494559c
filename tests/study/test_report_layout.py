"""The report of a study, laid out by a browser: a phone, a dark screen, paper."""

from __future__ import annotations

import html
import shutil
import subprocess
from pathlib import Path

import pytest

from qbnnc.study.report import write_report
from tests.page.browser import opened
from tests.study.report_rows import rows

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(rows(), path, "A study")
    return path


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="needs chromium to lay the page out")
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_screen(file: Path, tmp_path: Path, width: int) -> None:
    """In a browser: tables scroll in their boxes, drawings fit, text has 16 pixels."""
    probe = tmp_path / "probe.html"
    page = html.escape(file.read_text(encoding="utf-8"))
    script = """onload = () => { const page = document.querySelector("iframe").contentDocument
        const all = (what) => [...page.querySelectorAll(what)]
        const wide = all("img, .scroll, p, li, figure, h1, dl").filter(
            (e) => e.getBoundingClientRect().right > page.documentElement.clientWidth)
        const small = all("p, li, td, th, dd, figcaption").filter(
            (e) => parseFloat(getComputedStyle(e).fontSize) < 16)
        document.title = [page.documentElement.scrollWidth, wide.length, small.length] }"""
    frame = f'<iframe style="width: {width}px; border: 0" srcdoc="{page}"></iframe>'
    probe.write_text(f"<title></title>{frame}<script>{script}</script>", encoding="utf-8")
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--dump-dom")
    done = subprocess.run(
        [str(BROWSER), *options, f"--user-data-dir={tmp_path}/profile", probe.as_uri()],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    assert f"<title>{width},0,0</title>" in done.stdout


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="needs chromium to lay the page out")
def test_paper_and_dark_screens(file: Path, tmp_path: Path) -> None:
    """Nothing is cut on A4, folded tables are printed too; text stands out on a dark screen."""
    with opened(tmp_path / "profile") as tab:
        tab.show(390, 900, dark=True)
        tab.open(file)
        colours = "[getComputedStyle(document.body).color, getComputedStyle(document.body)" + (
            ".backgroundColor]"
        )
        assert tab.evaluate(colours) == ["rgb(236, 236, 236)", "rgb(21, 24, 28)"]
        assert tab.evaluate("document.title") == "A study"
        tab.call("Emulation.setEmulatedMedia", media="print")
        tab.call(
            "Emulation.setDeviceMetricsOverride",
            width=794, height=1123, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip
        root = "document.documentElement"
        assert tab.evaluate(f"{root}.scrollWidth <= {root}.clientWidth")
        assert tab.evaluate("getComputedStyle(document.querySelector('.scroll')).overflowX") == (
            "visible"
        )
        assert tab.evaluate("document.querySelector('details table').offsetHeight") > 100
        assert tab.evaluate(colours) == ["rgb(0, 0, 0)", "rgb(255, 255, 255)"]
