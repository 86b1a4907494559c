"""Trained PyTorch networks to FLOAT graphs."""

from qbnnc.frontend.factory import ModelError
from qbnnc.frontend.modes import Dropout
from qbnnc.frontend.read import Source, read_file, read_module, save_program
from qbnnc.frontend.sniff import FileKind, sniff

__all__ = [
    "Dropout",
    "FileKind",
    "ModelError",
    "Source",
    "read_file",
    "read_module",
    "save_program",
    "sniff",
]
