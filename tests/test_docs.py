"""The documents' examples are run, and the modules' doctests too."""

from __future__ import annotations

import doctest
import importlib
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
MODULES = (
    "qbnnc.cli.shared_options",
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


@pytest.mark.slow
def test_the_readme_and_the_guide_work_when_pasted(tmp_path: Path) -> None:
    """All blocks in one shell: the README's in an empty folder, then the guide's, with `tools`.

    The blocks that install and build, and what is C, are left out.
    """
    readme, left_out = _script("README.md")
    assert [text.split()[0] for text in left_out] == ["make", "pip", "#include"]
    assert len(readme) == 2
    guide, left_out = _script("docs/guide.md")
    assert left_out == []
    assert len(guide) == 12
    tools = f"ln -s {shlex.quote(str(ROOT / 'tools'))} tools\n"
    _paste([*readme, tools, *guide], tmp_path)


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
