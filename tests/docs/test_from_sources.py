"""Pages that are read from the sources: the catalogue of messages, and the ops."""

from __future__ import annotations

import re
from pathlib import Path

from qbnnc.ir.ops import OPS
from qbnnc.ir.ops.base import op_name
from tools.docs.hooks import GENERATED, MARKER, on_page_markdown
from tools.docs.messages import FOLDERS, Message, catalogue, messages
from tools.docs.operations import operations

ROOT = Path(__file__).resolve().parents[2]


def test_a_known_message_is_in_the_catalogue() -> None:
    """That of a LayerNorm's sibling, written by hand from its source."""
    alpha = Message(
        "alpha dropout is not supported, as it adds noise",
        "use nn.Dropout",
        "CompileError",
        alpha_file(),
    )
    assert alpha in messages("frontend")


def alpha_file() -> str:
    (file,) = [
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "frontend").rglob("*.py")
        if "alpha dropout is not supported" in path.read_text()
    ]
    return file


def test_every_layer_has_messages() -> None:
    text = catalogue()
    for folder, title in FOLDERS.items():
        assert f"### {title}\n" in text
        assert len(messages(folder)) > 20


def test_rows_of_the_catalogue_have_three_cells() -> None:
    rows = [line for line in catalogue().splitlines() if line.startswith("|")]
    assert len(rows) > 300
    for row in rows:
        assert len(re.findall(r"(?<!\\)\|", row)) == 4


def test_every_op_is_told_once() -> None:
    text = operations()
    told = re.findall(r"^### (\w+)$", text, re.MULTILINE)
    assert sorted(told) == sorted(op_name(cls) for cls in OPS.values())
    assert text.index("## Float level") < text.index("### linear\n")
    assert text.index("## Integer level") < text.index("### linear_integer\n")


def test_fields_and_traits_of_an_op() -> None:
    section = operations().partition("### keep_mask\n")[2].partition("### ")[0]
    assert "| `p` | `float` |  |" in section
    assert "| `shared` | `bool` | `False` |" in section
    assert "Traits: `random`." in section


def test_markers_have_something_to_stand_for() -> None:
    used = set[str]()
    for page in (ROOT / "docs").rglob("*.md"):
        used |= {*MARKER.findall(page.read_text("utf-8"))}
    assert used == {*GENERATED}


class Page:
    """A page of the site as the hook sees it."""

    def __init__(self, src_uri: str) -> None:
        self.file = self
        self.src_uri = src_uri


def test_the_hook_leaves_other_pages_alone() -> None:
    assert on_page_markdown("# Text\n", Page("index.md")) == "# Text\n"
    made = on_page_markdown("<!-- generated: operations -->\n", Page("reference/operations.md"))
    assert made.startswith("## Float level")
