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

import click
import pytest

from qbnnc.cli.main import cli

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
WRITTEN = re.compile(r"^cat > (\S+) <<'EOF'\n(.*?)^EOF$", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"^qbnnc .*$", re.MULTILINE)
MODULES = (
    "qbnnc.cli.shared_options",
    "qbnnc.cli.quantisation_options",
    "qbnnc.cli.limits",
    "qbnnc.inspection.page.histogram",
    "qbnnc.inspection.page.layered",
    "qbnnc.inspection.page.markup",
    "qbnnc.passes.recorded_options",
    "qbnnc.ir.arithmetic",
    "qbnnc.ir.scales",
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


@pytest.mark.parametrize(
    ("page", "least"),
    [("README.md", 3), ("docs/how-to/guide.md", 12), ("docs/how-to/look-inside.md", 7)],
)
def test_commands_are_as_the_command_line_takes_them(
    page: str, least: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names, options and values are parsed; the commands are not run."""
    monkeypatch.chdir(tmp_path)
    for name, text in WRITTEN.findall((ROOT / page).read_text()):
        Path(name).write_text(text)
    commands = list(_commands(page))
    assert len(commands) >= least
    for name, *arguments in commands:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        command.make_context(name, arguments)  # raises UsageError


@pytest.mark.slow
def test_the_readme_works_when_pasted(tmp_path: Path) -> None:
    _paste(_readme(), tmp_path)


@pytest.mark.nightly
def test_the_readme_and_the_guide_work_when_pasted(tmp_path: Path) -> None:
    """All blocks in one shell: the README's in an empty folder, then the guide's, with `tools`."""
    readme = _readme()
    guide, left_out = _script("docs/how-to/guide.md")
    assert left_out == []
    assert len(guide) == 17
    tools = f"ln -s {shlex.quote(str(ROOT / 'tools'))} tools\n"
    _paste([*readme, tools, *guide], tmp_path)


@pytest.mark.slow
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


def _paste(blocks: Sequence[str], folder: Path) -> None:
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    pasted = subprocess.run(
        ["bash", "-euo", "pipefail"],
        input="\n".join(blocks),
        cwd=folder,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
    )
    assert pasted.returncode == 0, pasted.stdout[-2000:] + pasted.stderr[-2000:]
