"""The documents' examples are run, and the modules' doctests too."""

from __future__ import annotations

import doctest
import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from socket import socket

import click
import pytest

from qbnnc.cli.main import cli

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
WRITTEN = re.compile(r"^cat > (\S+) <<'EOF'\n(.*?)^EOF$", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"^qbnnc .*$", re.MULTILINE)
# The pages whose blocks run after the quick start, and those that need nothing.
AFTER_THE_QUICK_START = tuple(
    f"docs/how-to/{name}.md"
    for name in "calibrate choose-bits compile-your-network fine-tune measure-speed verify".split()
)
ALONE = (
    "docs/how-to/debug-a-refusal.md",
    "docs/explanation/posteriors.md",
    "docs/reference/errors.md",
    "docs/reference/file-format.md",
)
TUTORIALS = "docs/tutorials/"  # whose blocks are cells (tests/docs)
WITH_BLOCKS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    if {language for language, _ in BLOCK.findall(path.read_text("utf-8"))} & {"sh", "python"}
)
MADE = """python - <<'EOF'
import numpy as np
import qbnnc
import torch
from torch import nn

torch.manual_seed(0)
net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 1))
x = np.random.default_rng(0).normal(size=(100, 4)).astype(np.float32)
qbnnc.compile(net, "model.qbnn", calibration=x, task="regression", spread_check=False)
EOF
"""
MODULES = (
    "qbnnc.batches.reading.csv_header",
    "qbnnc.cli.shared_options",
    "qbnnc.cli.quantisation_options",
    "qbnnc.cli.limits",
    "qbnnc.inspection.page.histogram",
    "qbnnc.inspection.page.layered",
    "qbnnc.inspection.page.markup",
    "qbnnc.passes.recorded_options",
    "qbnnc.ir.arithmetic",
    "qbnnc.ir.scales",
    "qbnnc.loading.arrays",
    "qbnnc.loading.sources",
    "qbnnc.passes.mixed_precision.analysis",
    "qbnnc.passes.mixed_precision.budget",
    "qbnnc.support.inputs",
    "qbnnc.ir.rng",
    "qbnnc.support.text",
    "qbnnc.passes.options",
)


def test_semantics() -> None:
    result = doctest.testfile(str(ROOT / "docs" / "semantics.md"), module_relative=False)
    assert result.attempted >= 15
    assert result.failed == 0


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize("page", WITH_BLOCKS)
def test_commands_are_as_the_command_line_takes_them(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names, options and values are parsed; the commands are not run."""
    monkeypatch.chdir(tmp_path)
    for name, text in WRITTEN.findall((ROOT / page).read_text()):
        Path(name).write_text(text)
    for name, *arguments in _commands(page):
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        command.make_context(name, arguments)  # raises UsageError


def test_commands_are_found() -> None:
    assert [name for name, *_ in _commands("README.md")] == [
        *("compile", "verify", "evaluate", "run", "compile", "verify")
    ]


@pytest.mark.parametrize("page", [p for p in WITH_BLOCKS if not p.startswith(TUTORIALS)])
def test_a_test_runs_the_blocks_of_every_page(page: str) -> None:
    """A test of this file, or of another, which names the page."""
    if page not in AFTER_THE_QUICK_START + ALONE:
        name = Path(page).name
        tests = [path.read_text("utf-8") for path in (ROOT / "tests").rglob("*.py")]
        assert any(name in text for text in tests)


def test_the_quick_start_is_the_readmes() -> None:
    """One text: the README's first block of a shell."""
    first, *_ = _script("README.md")[0]
    assert _script("docs/quick-start.md")[0] == [first]


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) < 120


@pytest.mark.slow
def test_the_readme_works_when_pasted(tmp_path: Path) -> None:
    _paste(_readme(), tmp_path)


@pytest.fixture(scope="module")
def quick_start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the quick start has run, with the clone's `tools` and what was printed."""
    folder = tmp_path_factory.mktemp("quick_start")
    said = _paste(_script("docs/quick-start.md")[0], folder)
    (folder / "said.txt").write_text(said)
    (folder / "tools").symlink_to(ROOT / "tools")
    return folder


@pytest.mark.nightly
def test_the_quick_start_prints_what_its_page_shows(quick_start: Path) -> None:
    """Line by line, but for numbers: those depend on the machine that trains."""
    shown = [
        line
        for language, block in BLOCK.findall((ROOT / "docs/quick-start.md").read_text())
        if language == "text"
        for line in block.splitlines()
    ]
    said = {_without_numbers(line) for line in (quick_start / "said.txt").read_text().splitlines()}
    assert len(shown) > 20
    assert [line for line in shown if _without_numbers(line) not in said] == []


@pytest.mark.nightly
@pytest.mark.parametrize("page", AFTER_THE_QUICK_START)
def test_pages_work_when_pasted_after_the_quick_start(
    page: str, quick_start: Path, tmp_path: Path
) -> None:
    """All blocks of a page in one shell, in a copy of the folder."""
    folder = shutil.copytree(quick_start, tmp_path / "copy", symlinks=True)
    _paste(_script(page)[0], folder)


@pytest.mark.nightly
def test_the_onnx_file_in_onnxruntime(quick_start: Path) -> None:
    first, *_ = _script("docs/how-to/engines.md")[0]
    _paste([first], quick_start)


@pytest.mark.slow
@pytest.mark.parametrize("page", [pytest.param(ALONE[0], marks=pytest.mark.nightly), *ALONE[1:]])
def test_pages_work_when_pasted_alone(page: str, tmp_path: Path) -> None:
    _paste(_script(page)[0], tmp_path)


@pytest.mark.nightly
@pytest.mark.skipif(None in map(shutil.which, ("cmake", "gcc")), reason="needs cmake and gcc")
def test_the_page_of_microcontrollers_works_when_pasted(tmp_path: Path) -> None:
    """All blocks of its shell and its Python; cross compilers, C and Kotlin are left out."""
    made, left_out = _script("docs/how-to/microcontroller.md")
    assert [text.split()[0] for text in left_out] == ["qbnnc", "#include", "val"]
    tools = f"ln -s {shlex.quote(str(ROOT / 'tools'))} tools\nmkdir build\n"
    _paste([tools, *made], tmp_path)


@pytest.mark.nightly
def test_the_page_of_pictures_works_when_pasted(tmp_path: Path) -> None:
    made, left_out = _script("docs/how-to/look-inside.md")
    assert left_out == []
    links = "".join(
        f"ln -s {shlex.quote(str(ROOT / name))} {name}\n" for name in ("tools", "tests")
    )
    _paste([links, *made], tmp_path)
    for name in ("lenet.html", "classification.svg", "regression.svg"):
        assert (tmp_path / "build" / "look" / name).stat().st_size > 10_000
    pictures = list((ROOT / "docs" / "how-to" / "pictures").glob("*.svg"))
    assert len(pictures) == 3
    assert all(picture.stat().st_size < 60_000 for picture in pictures)


@pytest.mark.nightly
def test_the_page_of_large_batches_works_when_pasted(tmp_path: Path) -> None:
    """With a network of its own, which takes as many numbers as the README's."""
    blocks, left_out = _script("docs/how-to/large-batches.md")
    assert (len(blocks), left_out) == (5, [])
    with socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    _paste([MADE, *(block.replace("8786", port) for block in blocks)], tmp_path)
    assert (tmp_path / "mended.csv").read_text().count("\n") == 20001


def _readme() -> list[str]:
    """The README's blocks but for those that install and build, and what is C."""
    readme, left_out = _script("README.md")
    assert [text.split()[0] for text in left_out] == ["make", "pip", "#include"]
    assert len(readme) == 2
    return readme


def _commands(page: str) -> Iterator[list[str]]:
    """The words of each `qbnnc ...` in the shell's blocks of a page, without the first."""
    for language, text in BLOCK.findall((ROOT / page).read_text()):
        if language == "sh":
            joined = text.replace("\\\n", " ")
            yield from (shlex.split(line)[1:] for line in COMMAND.findall(joined))


def _script(page: str) -> tuple[list[str], list[str]]:
    """The blocks of a page as a shell takes them, and those without a language."""
    made, left_out = list[str](), list[str]()
    for language, text in BLOCK.findall((ROOT / page).read_text()):
        if language == "python":
            made.append(f"python - <<'EOF'\n{text}EOF\n")
        else:
            (made if language == "sh" else left_out).append(text)
    return made, left_out


def _without_numbers(line: str) -> str:
    """A line whose digests and numbers are #, and whose spaces are single."""
    numbers = r"\b[0-9a-f]{16}\b|-?\d[\d.,]*(?:e-?\d+)?"
    return " ".join(re.sub(numbers, "#", line).split())


def _paste(blocks: Sequence[str], folder: Path) -> str:
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    pasted = subprocess.run(
        ["bash", "-euo", "pipefail"],
        input="\n".join(blocks),
        cwd=folder,
        env=os.environ | {"PATH": path, "COLUMNS": "80"},
        capture_output=True,
        text=True,
    )
    assert pasted.returncode == 0, pasted.stdout[-2000:] + pasted.stderr[-2000:]
    return pasted.stdout
