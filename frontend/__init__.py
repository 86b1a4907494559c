"""Trained PyTorch networks to FLOAT graphs."""

from qbnnc.frontend.examples import example_rows
from qbnnc.frontend.factory import ModelError
from qbnnc.frontend.members import NoNetworkError
from qbnnc.frontend.modes import Dropout
from qbnnc.frontend.read import (
    Source,
    read_file,
    read_module,
    read_modules,
    save_program,
    save_traced,
)
from qbnnc.frontend.sniff import FileKind, sniff

__all__ = [
    "Dropout",
    "FileKind",
    "ModelError",
    "NoNetworkError",
    "Source",
    "example_rows",
    "read_file",
    "read_module",
    "read_modules",
    "save_program",
    "save_traced",
    "sniff",
]
