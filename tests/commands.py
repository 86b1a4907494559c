"""Running the command line inside a test."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from qbnnc.cli.main import main
from qbnnc.ir.types import Array


@dataclass(frozen=True)
class Result:
    """A command's exit code and output."""

    code: int
    out: str
    err: str

    @property
    def words(self) -> str:
        """The output as one line of words."""
        return " ".join(self.out.split())


Command = Callable[..., Result]


def with_options(usual: Sequence[object], *others: object) -> tuple[object, ...]:
    """The usual arguments without the options that are given by the others, and the others."""
    kept, given = list(usual), {other for other in others if _is_flag(other)}
    for place in reversed(range(len(kept))):
        if _is_flag(kept[place]) and kept[place] in given:
            has_value = place + 1 < len(kept) and not _is_flag(kept[place + 1])
            del kept[place : place + 1 + has_value]
    return (*kept, *others)


def _is_flag(argument: object) -> bool:
    return re.match("--?[a-z]", str(argument)) is not None


class Runner:
    """Runs `qbnnc` with arguments, in a folder of its own."""

    def __init__(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.folder, self.monkeypatch, self.capsys = folder, monkeypatch, capsys
        monkeypatch.chdir(folder)

    def __call__(self, *arguments: object) -> Result:
        self.monkeypatch.setattr(sys, "argv", ["qbnnc", *map(str, arguments)])
        self.capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main()
        printed = self.capsys.readouterr()
        assert isinstance(stopped.value.code, int)
        return Result(stopped.value.code, printed.out, printed.err)

    def refused(self, *arguments: object) -> str:
        """The one sentence of an error: exit code 2, no traceback, nothing written."""
        before = {p: p.stat().st_mtime_ns for p in self.folder.rglob("*") if _counts(p)}
        result = self(*arguments)
        after = {p: p.stat().st_mtime_ns for p in self.folder.rglob("*") if _counts(p)}
        assert result.code == 2
        assert result.err.startswith("Error: ")
        assert len(result.err.strip().splitlines()) == 1
        assert "Traceback" not in result.err + result.out
        assert "internal error" not in result.err
        assert after == before
        return result.err.removeprefix("Error: ").strip()


def npz(path: str | Path) -> dict[str, Array]:
    """The arrays of an .npz file, which is closed again."""
    with np.load(path) as archive:
        return dict(archive)


def _counts(path: Path) -> bool:
    return path.is_file() and "__pycache__" not in path.parts
