"""qbnnc verify of C artefacts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from qbnnc.cli.common import echo_json
from qbnnc.verification.c_program import digest_of, run_test


def run_tests(
    paths: Sequence[str], cc: str | None, run: str | None, *, as_json: bool, quiet: bool
) -> int:
    """Run the test of each .c; return the exit code."""
    for path in paths:
        digest_of(Path(path))
    outcomes = [run_test(Path(path), cc, run) for path in paths]
    if as_json:
        echo_json([asdict(outcome) for outcome in outcomes])
    else:
        for outcome in outcomes:
            if not quiet or not outcome.equal:
                click.echo(outcome.text)
    return 0 if all(outcome.equal for outcome in outcomes) else 1
