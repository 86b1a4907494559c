"""qbnnc verify of C artefacts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from qbnnc.cli.common import echo_json
from qbnnc.loading.project_folder import source_of
from qbnnc.verification.c_program import costs_of, run_test


def run_tests(
    paths: Sequence[str], cc: str | None, run: str | None, *, as_json: bool, quiet: bool
) -> int:
    """Run the test of each .c, or of each folder of a project; return the exit code."""
    sources = [source_of(Path(path)) for path in paths]
    for source in sources:
        costs_of(source)
    outcomes = [run_test(source, cc, run) for source in sources]
    if as_json:
        echo_json([asdict(outcome) for outcome in outcomes])
    else:
        for outcome in outcomes:
            if not quiet or not outcome.equal:
                click.echo(outcome.text)
    return 0 if all(outcome.equal for outcome in outcomes) else 1
