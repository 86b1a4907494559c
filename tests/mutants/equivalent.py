"""Mutants that no test can tell from the original, each with the reason."""

from __future__ import annotations

import tomllib
from pathlib import Path

FILE = Path(__file__).with_suffix(".toml")


def reasons() -> dict[str, str]:
    """Why each mutant does what the original does, by its name."""
    with FILE.open("rb") as file:
        entries = tomllib.load(file).get("mutant", [])
    return {entry["name"]: entry["reason"] for entry in entries}
