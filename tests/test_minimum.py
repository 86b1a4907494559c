"""The lowest versions: what is declared is what `make minimum` tries."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
REQUIREMENT = re.compile(r"([a-z0-9-]+)>=([0-9.]+)")
TRIED_TOOLS = {"hatchling", "httpx", "hypothesis", "pytest", "pytest-xdist"}
OF_DEVELOPERS = {"docs", "test"}  # extras that users do not get


def of_users() -> dict[str, list[str]]:
    """The requirements of each extra that users get; those of the base by the name ""."""
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras: dict[str, list[str]] = project["optional-dependencies"]
    chosen = {name: needs for name, needs in extras.items() if name not in OF_DEVELOPERS}
    return {"": project["dependencies"]} | chosen


def declared() -> dict[str, str]:
    """The floor of each dependency of users, and of the tools that try them."""
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    tools = (
        floor(entry)
        for entry in project["optional-dependencies"]["test"]
        if not entry.startswith("qbnnc[")
    )
    floors = dict(floor(entry) for needs in of_users().values() for entry in needs)
    return floors | {name: lowest for name, lowest in tools if name in TRIED_TOOLS}


def floor(requirement: str) -> tuple[str, str]:
    match = REQUIREMENT.fullmatch(requirement)
    assert match, f"{requirement}: a floor alone is expected"
    return match[1], match[2]


def test_the_declared_floors_are_what_is_tried() -> None:
    lines = (ROOT / "constraints-minimum.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert pins == declared()


def test_an_extra_has_the_floors_of_the_others() -> None:
    """A package of two extras has one floor: pins could try no more than one."""
    floors = {floor(entry) for needs in of_users().values() for entry in needs}
    assert len(floors) == len(dict(floors))


def test_all_extras_of_users_are_installed() -> None:
    found = re.search(r"^MINIMUM_EXTRAS := (.+)$", (ROOT / "Makefile").read_text(), re.M)
    assert found is not None
    assert found[1].split(",") == sorted(of_users())[1:]


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


def test_the_page_of_versions_has_the_floors_and_who_needs_them() -> None:
    page = (ROOT / "docs" / "reference" / "versions.md").read_text(encoding="utf-8")
    _, _, table = page.partition("| package | lowest | needed |\n| --- | --- | --- |\n")
    rows = [line.strip("| ").split(" | ") for line in table.split("\n\n")[0].splitlines()]
    needs = {name: [floor(entry) for entry in entries] for name, entries in of_users().items()}
    expected = [
        [package, lowest, ", ".join(f"`{name}`" if name else "always" for name in where)]
        for package, lowest in sorted({each for floors in needs.values() for each in floors})
        if (where := [name for name in needs if (package, lowest) in needs[name]])
    ]
    assert sorted(rows) == expected
