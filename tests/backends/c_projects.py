"""Folders for firmware projects, and commands that run in them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from qbnnc.backends.c import golden_program, project, to_c
from qbnnc.ir.model import Model

needs_cmake = pytest.mark.skipif(shutil.which("cmake") is None, reason="needs cmake")


def laid_out(folder: Path, model: Model, name: str = "my_net", *, blob: bool = False) -> Path:
    """The folder with the files of a project."""
    source = to_c(model, name, blob=blob)
    for path, data in project(model, source, golden_program(model, name)).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


def run(folder: Path, *command: object, **environment: str) -> str:
    """Run a command without a fault; return what it prints."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout
