"""Workflows and hooks of the repository: they parse, and all that they run is there."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TARGET = re.compile(r"^([a-z][a-z-]*):", re.MULTILINE)
VARIABLE = re.compile(r"^([A-Z_]+) \?=", re.MULTILINE)
MAKEFILE = (ROOT / "Makefile").read_text()


def jobs(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(file.read_text())["jobs"]
    return found


def commands(file: Path) -> Iterator[list[str]]:
    for job in jobs(file).values():
        for step in job["steps"]:
            if "run" in step:
                yield shlex.split(re.sub(r"\$\{\{.*?\}\}", "VALUE", step["run"]))


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_each_command_is_make_with_a_target_and_variables_that_exist(file: Path) -> None:
    targets, variables = set(TARGET.findall(MAKEFILE)), set(VARIABLE.findall(MAKEFILE))
    found = list(commands(file))
    assert found
    for program, *words in found:
        assert program == "make"
        named = {word for word in words if "=" not in word}
        assert named
        assert named <= targets
        assert {word.partition("=")[0] for word in words if "=" in word} <= variables


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_jobs_have_a_limit_few_rights_and_steps_that_name_a_version(file: Path) -> None:
    assert yaml.safe_load(file.read_text())["permissions"] == {"contents": "read"}
    for name, job in jobs(file).items():
        assert 0 < job["timeout-minutes"] <= 360, name
        assert set(job.get("needs", ())) <= set(jobs(file)), name
        for step in job["steps"]:
            assert re.fullmatch(r"[\w-]+/[\w-]+@v\d+", step.get("uses", "a/b@v1")), name


def test_what_has_to_hold_is_tried() -> None:
    """All that a release needs, and what takes long at night."""
    made = {
        job: " ".join(words)
        for job, words in zip(jobs(WORKFLOWS[0]), commands(WORKFLOWS[0]), strict=True)
    }
    wanted = {
        "lint": "make lint types",
        "test": "make test JOBS=4",
        "minimum": "make minimum JOBS=4",
        "docs": "make docs",
        "release": "make release REPOSITORY=VALUE/VALUE",
        "nightly": "make nightly JOBS=4",
        "fuzz": "make fuzz MINUTES=30",
    }
    assert made == wanted
    nightly = {name for name, job in jobs(WORKFLOWS[0]).items() if "==" in job["if"]}
    assert nightly == {"nightly", "fuzz"}


def test_the_tested_pythons_are_those_that_are_claimed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    claimed = [entry.split(" :: ")[-1] for entry in project["classifiers"] if " :: 3." in entry]
    assert jobs(WORKFLOWS[0])["test"]["strategy"]["matrix"]["python"] == claimed


def test_only_the_tested_system_is_claimed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    systems = [entry for entry in project["classifiers"] if entry.startswith("Operating System")]
    assert systems == ["Operating System :: POSIX :: Linux"]
    assert {job["runs-on"] for file in WORKFLOWS for job in jobs(file).values()} == {"ubuntu-24.04"}


def test_hooks_before_a_commit_are_the_lint_rules_of_make() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    entries = [hook["entry"] for repo in config["repos"] for hook in repo["hooks"]]
    assert entries == [".venv/bin/ruff format", ".venv/bin/ruff check --fix"]
    for entry in entries:
        tool = " ".join(entry.removesuffix(" --fix").split("/")[-1].split())
        assert f"$(BIN)/{tool}" in MAKEFILE


def test_templates_have_what_github_reads() -> None:
    for file in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.md"):
        head = yaml.safe_load(file.read_text().split("---\n")[1])
        assert {"name", "about"} <= set(head), file.name
