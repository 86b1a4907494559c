"""What mkdocs does to our pages: outputs of tutorials, and pages that are read from the sources."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import nbformat

from tools.docs.messages import catalogue
from tools.docs.notebook import TUTORIALS
from tools.docs.operations import operations
from tools.docs.tutorial_pages import page as tutorial

GENERATED: dict[str, Callable[[], str]] = {"catalogue": catalogue, "operations": operations}
MARKER = re.compile(r"^<!-- generated: (\w+) -->$", re.MULTILINE)


class File(Protocol):
    @property
    def src_uri(self) -> str:
        """The path below docs/."""


class Page(Protocol):
    @property
    def file(self) -> File:
        """The source of the page."""


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """The page with the outputs of its notebook, or what a marker stands for."""
    path = Path(page.file.src_uri)
    notebook = TUTORIALS / f"{path.stem}.ipynb"
    if path.parent.name == TUTORIALS.name and notebook.exists():
        return tutorial(nbformat.read(notebook, as_version=4), notebook.name)
    return MARKER.sub(lambda found: GENERATED[found[1]](), markdown)
