"""The targets by name; a worker imports only its own, so that its memory is that one's."""

from __future__ import annotations

import importlib
from typing import cast

from tests.fuzz.target import Target

MODULES = {
    "qbnn": "tests.fuzz.models",
    "npz": "tests.fuzz.arrays",
    "onnx": "tests.fuzz.onnx_files",
    "programs": "tests.fuzz.programs",
    "states": "tests.fuzz.states",
    "options": "tests.fuzz.options",
}


def open_target(name: str) -> Target:
    """The target, with its seeds."""
    return cast(Target, importlib.import_module(MODULES[name]).open_target())
