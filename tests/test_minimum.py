"""The lowest versions: what is declared is what `make minimum` tries."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
REQUIREMENT = re.compile(r"([a-z0-9-]+)>=([0-9.]+)")
TRIED_TOOLS = {"hatchling", "hypothesis", "pytest", "pytest-xdist"}


def declared() -> dict[str, str]:
    """The floor of each dependency of the base, of compiling, and of the tools that try them."""
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    floors = dict(map(floor, [*project["dependencies"], *extras["compile"]]))
    tools = (floor(entry) for entry in extras["test"] if not entry.startswith("qbnnc["))
    return floors | {name: lowest for name, lowest in tools if name in TRIED_TOOLS}


def floor(requirement: str) -> tuple[str, str]:
    match = REQUIREMENT.fullmatch(requirement)
    assert match, f"{requirement}: a floor alone is expected"
    return match[1], match[2]


def test_the_declared_floors_are_what_is_tried() -> None:
    lines = (ROOT / "constraints-minimum.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert pins == declared()


def test_the_lowest_python_is_what_is_tried() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lowest = project["requires-python"].removeprefix(">=")
    assert f"MINIMUM_PYTHON ?= python{lowest}\n" in (ROOT / "Makefile").read_text()
    versions = [entry.split(" :: ")[-1] for entry in project["classifiers"] if " :: 3." in entry]
    assert versions[0] == lowest


def test_claimed_pythons_are_in_the_table_of_what_ran() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    claimed = {entry.split(" :: ")[-1] for entry in project["classifiers"] if " :: 3." in entry}
    table = (ROOT / "docs" / "reference" / "versions.md").read_text()
    ran = re.findall(r"^\| (3\.\d+)\.\d+ \| .*\d+ passed", table, re.MULTILINE)
    assert claimed == set(ran)
