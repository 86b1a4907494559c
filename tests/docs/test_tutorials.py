"""Tutorials: notebooks belong to their pages, and cells print what the notebooks say."""

from __future__ import annotations

import re
import shutil
from base64 import b64decode
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_output

from tools.docs import notebook
from tools.docs.notebook import TUTORIALS, execute, names, notebook_of, read, take_prose
from tools.docs.tutorial_pages import page

NEEDS = {"browser": ("clang", "wasm-ld", "node"), "microcontroller": ("cc",)}
EMULATOR = ("arm-none-eabi-gcc", "qemu-system-arm")
LARGEST = 40_000  # bytes of a picture
NUMBER = re.compile(r"(?<![\w.])-?\d+(?:[.,]\d+)*(?:e-?\d+)?")
TEXT = """# A title

Some prose.

<!-- figure: A straight
line. -->
```python
print(1)
```

```sh
echo 2
```

The end.
"""


def stored(name: str) -> NotebookNode:
    return read(TUTORIALS / f"{name}.ipynb")


def printed(made: NotebookNode) -> list[str]:
    """The text of each cell."""
    return [
        "".join(o.text for o in cell.outputs if o.output_type == "stream")
        for cell in made.cells
        if cell.cell_type == "code"
    ]


def words(text: str) -> list[str]:
    """The words of what was printed, without numbers, digests and rulers."""
    text = re.sub(r"\b[0-9a-f]{16}\b", "", text)
    return re.findall(r"[^\W\d_]{2,}", NUMBER.sub("", text))


def test_there_are_seven() -> None:
    assert names() == [
        *("browser", "classification", "ensemble", "few-bits"),
        *("microcontroller", "regression", "writing-a-pass"),
    ]


def test_cells_of_a_page() -> None:
    cells = notebook_of(TEXT).cells
    assert [(cell.cell_type, cell.source) for cell in cells] == [
        ("markdown", "# A title\n\nSome prose."),
        ("code", "print(1)"),
        ("code", "%%bash\necho 2"),
        ("markdown", "The end."),
    ]
    assert cells[1].metadata == {"figure": "A straight line."}


@pytest.mark.parametrize("name", names())
def test_notebooks_are_those_of_their_pages(name: str) -> None:
    """`make notebooks` has run since the page was changed."""
    wanted = notebook_of((TUTORIALS / f"{name}.md").read_text("utf-8"))
    found = stored(name)
    assert [(c.cell_type, c.source) for c in found.cells] == [
        (c.cell_type, c.source) for c in wanted.cells
    ]
    nbformat.validate(found)


@pytest.mark.parametrize("name", names())
def test_notebooks_end_in_a_proof_and_have_small_pictures(name: str) -> None:
    found = stored(name)
    texts = "".join(printed(found))
    assert "equal" in texts or "0 of " in texts
    assert "Traceback" not in texts
    assert not re.search(r"(?m)(^|[\s\"'])/(tmp|home|root|Users)/", texts)  # no machine's paths
    for cell in found.cells:
        for output in cell.get("outputs", ()):
            assert output.output_type in ("stream", "display_data", "execute_result")
            if svg := output.get("data", {}).get("image/svg+xml"):
                assert len(svg) <= LARGEST
                assert cell.metadata["figure"]


def test_a_warning_names_no_file_of_the_kernel() -> None:
    made = notebook_of("```python\nimport warnings\nwarnings.warn('look out')\n```\n")
    assert printed(execute(made)) == ["UserWarning: look out\n"]


def test_prose_is_taken_without_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The outputs stay; code that has changed is refused."""
    monkeypatch.setattr(notebook, "TUTORIALS", tmp_path)
    executed = notebook_of(TEXT)
    executed.cells[1].outputs = [new_output("stream", name="stdout", text="1\n")]
    nbformat.write(executed, tmp_path / "one.ipynb")
    (tmp_path / "one.md").write_text(TEXT.replace("Some prose", "Other prose"))
    found = read(take_prose("one"))
    assert found.cells[0].source == "# A title\n\nOther prose."
    assert printed(found) == ["1\n", ""]
    (tmp_path / "one.md").write_text(TEXT.replace("print(1)", "print(2)"))
    with pytest.raises(ValueError, match="one: the code has changed"):
        take_prose("one")


def test_a_page_shows_code_text_and_pictures() -> None:
    made = page(stored("regression"), "regression.ipynb")
    assert made.startswith("# Regression with MC dropout\n\n[Notebook](regression.ipynb)")
    assert "``` { .python }\nimport qbnnc\n" in made
    assert "``` { .sh }\nqbnnc compile model.pt" in made
    assert "``` { .text .printed }\noracle: 120 rows x 20 samples" in made
    (picture,) = re.findall(r'src="data:image/svg\+xml;base64,([^"]*)"', made)
    assert b64decode(picture).startswith(b"<svg")


@pytest.mark.nightly
@pytest.mark.parametrize("name", names())
def test_cells_print_what_the_notebook_says(name: str) -> None:
    """The words are equal; numbers of training depend on the machine's float arithmetic."""
    missing = [tool for tool in NEEDS.get(name, ()) if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"needs {' and '.join(missing)}")
    if name == "microcontroller" and None in map(shutil.which, EMULATOR):
        pytest.skip(f"needs {' and '.join(EMULATOR)}")
    found = execute(notebook_of((TUTORIALS / f"{name}.md").read_text("utf-8")))
    assert list(map(words, printed(found))) == list(map(words, printed(stored(name))))
