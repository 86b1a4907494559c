"""The site as a browser shows it, on a phone, a laptop and a large screen."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.page.browser import PROGRAM, opened

ROOT = Path(__file__).resolve().parents[2]
WIDTHS = (390, 1280, 1920)
# What is wider than the screen, but for what stands in a box that scrolls.
WIDER = """(() => {
  const width = document.documentElement.clientWidth;
  const boxed = (e) => {
    for (let p = e.parentElement; p; p = p.parentElement)
      if (/auto|scroll|hidden/.test(getComputedStyle(p).overflowX)) return true;
    return false;
  };
  const found = [];
  if (document.documentElement.scrollWidth > width) found.push("the page scrolls sideways");
  for (const e of document.querySelectorAll(".md-content *")) {
    const box = e.getBoundingClientRect();
    if (box.width && box.right > width + 1 && !boxed(e)) found.push(e.outerHTML.slice(0, 120));
  }
  return found;
})()"""
BROKEN = """[...document.querySelectorAll(".md-content pre > code")].filter(
  (code) => getComputedStyle(code).whiteSpace !== "pre").length"""

needs_mkdocs = pytest.mark.skipif(find_spec("material") is None, reason="needs qbnnc[docs]")
pytestmark = [pytest.mark.nightly, needs_mkdocs]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` does: a warning is an error."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    for file in site.rglob("*.html"):
        text = file.read_text("utf-8")
        for part in ('src="http', "url(http", '<link rel="stylesheet" href="http'):
            assert part not in text, f"{file.name}: {part}"


@pytest.mark.skipif(PROGRAM is None, reason="needs chromium")
def test_no_page_is_wider_than_the_screen(site: Path, tmp_path: Path) -> None:
    wrong = list[str]()
    with opened(tmp_path) as tab:
        for file in sorted(site.rglob("index.html")):
            for width in WIDTHS:
                tab.show(width, 900, dark=width == 1280)
                tab.open(file)
                name = f"{file.parent.relative_to(site)} at {width}"
                wrong += [f"{name}: {text}" for text in tab.evaluate(WIDER)]
                assert tab.evaluate(BROKEN) == 0, name
    assert wrong == []
