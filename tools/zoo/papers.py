"""The papers that networks of the zoo were published in."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

_FILE = Path(__file__).with_suffix(".tsv")  # lines of key, authors, year, title


@dataclass(frozen=True, slots=True)
class Paper:
    """Where a network was published."""

    authors: str
    year: int
    title: str

    def __str__(self) -> str:
        return f"{self.authors} {self.year}"


@cache
def papers() -> dict[str, Paper]:
    """All papers, by their keys."""
    lines = (line.split("\t") for line in _FILE.read_text(encoding="utf-8").splitlines())
    return {key: Paper(authors, int(year), title) for key, authors, year, title in lines}
