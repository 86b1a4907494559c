"""A part of `make fenced`: tests of the runtime with a guard page at each side of the memory."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.fuzz.verdict import ROOT
from tests.guard_pages import Side

SAMPLE = ("tests/runtime/test_winograd.py", "tests/runtime/test_moves.py")


@pytest.mark.slow
@pytest.mark.parametrize("side", list(Side))
def test_kernels_stay_inside_their_memory(side: Side) -> None:
    fenced = ("-p", "tests.fenced", "--fence", side.value)
    chosen = ("-m", "not slow and not nightly", "--hypothesis-profile=again", *SAMPLE)
    command = [sys.executable, "-m", "pytest", "-q", *fenced, *chosen]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-2000:]
    assert " passed" in ended.stdout
