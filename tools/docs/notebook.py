"""A tutorial as a notebook: its Markdown gives the cells, a kernel gives the outputs.

    python -m tools.docs.notebook               all of docs/tutorials
    python -m tools.docs.notebook regression    one of them
    python -m tools.docs.notebook --prose       take changed prose, run nothing

A block ```python is a cell, and so is a block ```sh, which bash runs. A comment
`<!-- figure: ... -->` before a block says what its picture shows. The notebook beside the page
holds the outputs.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

ROOT = Path(__file__).resolve().parents[2]
TUTORIALS = ROOT / "docs" / "tutorials"
SECONDS = 600  # until a cell is given up
BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```$\n?", re.DOTALL | re.MULTILINE)
FIGURE = re.compile(r"<!-- figure: (.*?) -->\s*$", re.DOTALL)
SHELL = "%%bash\n"
WARNED = re.compile(r"^\S*ipykernel_\d+/\d+\.py:\d+: (\w+: .*\n)  .*\n", re.MULTILINE)
# Small pictures, the same bytes for the same drawing; the page's reader has the fonts.
SETUP = """
import matplotlib, matplotlib_inline.backend_inline as _inline
_inline.set_matplotlib_formats("svg", metadata={"Date": None})
matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "qbnnc"})
matplotlib.rcParams.update({"figure.figsize": (6, 3), "font.size": 9, "figure.autolayout": True})
"""


def names() -> list[str]:
    """The tutorials: every page of docs/tutorials that has cells."""
    return sorted(p.stem for p in TUTORIALS.glob("*.md") if BLOCK.search(p.read_text("utf-8")))


def notebook_of(text: str) -> NotebookNode:
    """The cells of a page, without outputs; ids count them, so that the same text is the same."""
    cells = [*_cells(text)]
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    made: NotebookNode = new_notebook(cells=cells, metadata=kernel)
    return made


def read(path: Path) -> NotebookNode:
    """The notebook in a file."""
    found: NotebookNode = nbformat.read(path, as_version=4)
    return found


def _cells(text: str) -> Iterator[NotebookNode]:
    end = 0
    for block in BLOCK.finditer(text):
        prose, figure = text[end : block.start()].strip(), ""
        if found := FIGURE.search(prose):
            figure, prose = " ".join(found[1].split()), prose[: found.start()].strip()
        if prose:
            yield new_markdown_cell(prose)
        language, source = block.groups()
        metadata = {"figure": figure} if figure else {}
        code = (SHELL if language == "sh" else "") + source.rstrip("\n")
        yield new_code_cell(code, metadata=metadata)
        end = block.end()
    if rest := text[end:].strip():
        yield new_markdown_cell(rest)


def execute(notebook: NotebookNode) -> NotebookNode:
    """Run the cells in a folder of their own, which has the clone's `tools`.

    CellExecutionError, from nbclient, for a cell that fails.
    """
    setup = new_code_cell(SETUP)
    notebook.cells.insert(0, setup)
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "tools").symlink_to(ROOT / "tools")
        paths = [name, str(ROOT / ".editable"), str(ROOT)]
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(paths),
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "80",
        }
        client = NotebookClient(notebook, timeout=SECONDS, resources={"metadata": {"path": name}})
        client.execute(env=environment, cwd=name)
        written = str(Path(name))
    notebook.cells.remove(setup)
    for cell in notebook.cells:
        _tidy(cell, written)
    return notebook


def _tidy(cell: NotebookNode, folder: str) -> None:
    """Leave out what differs from run to run: times, counters, folders; join streams."""
    cell.metadata.pop("execution", None)
    if cell.cell_type != "code":
        return
    cell.execution_count = None
    joined = list[NotebookNode]()
    for output in cell.outputs:
        if "execution_count" in output:
            output.execution_count = None
        same = joined and output.output_type == "stream" == joined[-1].output_type
        if same and output.name == joined[-1].name:
            joined[-1].text += output.text
        else:
            joined.append(output)
    for output in joined:
        if output.output_type == "stream":
            text = output.text.replace(folder, ".").replace(str(ROOT), "")
            text = WARNED.sub(r"\1", text)  # the file is the kernel's, and another one each time
            output.text = "".join(line.rpartition("\r")[2] for line in text.splitlines(True))
    cell.outputs = joined


def write(name: str) -> Path:
    """Execute a tutorial; the path of the notebook with its outputs."""
    text = (TUTORIALS / f"{name}.md").read_text("utf-8")
    path = TUTORIALS / f"{name}.ipynb"
    made = execute(notebook_of(text))
    made.metadata.pop("language_info", None)
    nbformat.write(made, path)
    return path


def _code(notebook: NotebookNode) -> list[str]:
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def take_prose(name: str) -> Path:
    """Give a notebook the prose of its page; ValueError if a cell of code has changed."""
    path = TUTORIALS / f"{name}.ipynb"
    found, wanted = read(path), notebook_of((TUTORIALS / f"{name}.md").read_text("utf-8"))
    if _code(found) != _code(wanted):
        raise ValueError(f"{name}: the code has changed; run it")
    outputs = iter([cell.outputs for cell in found.cells if cell.cell_type == "code"])
    for cell in wanted.cells:
        if cell.cell_type == "code":
            cell.outputs = next(outputs)
    nbformat.write(wanted, path)
    return path


def main(arguments: Sequence[str]) -> None:
    prose = "--prose" in arguments
    for name in [given for given in arguments if given != "--prose"] or names():
        print((take_prose if prose else write)(name).relative_to(ROOT), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
