"""Trained PyTorch networks to FLOAT graphs."""

from qbnnc.frontend.eager.example_rows import example_rows
from qbnnc.frontend.files.detect_format import FileKind, sniff
from qbnnc.frontend.files.model_factory import ModelError
from qbnnc.frontend.module.training_mode import Dropout
from qbnnc.frontend.read import (
    Source,
    read_file,
    read_module,
    read_modules,
    save_program,
    save_traced,
)

__all__ = [
    "Dropout",
    "FileKind",
    "ModelError",
    "Source",
    "example_rows",
    "read_file",
    "read_module",
    "read_modules",
    "save_program",
    "save_traced",
    "sniff",
]
