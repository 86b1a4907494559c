"""Artefacts from a Model: which suffix means what, and writing all of them or none."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from qbnnc.extras import require
from qbnnc.ir import format
from qbnnc.ir.errors import FileError, UserError
from qbnnc.ir.files import check_apart, check_output, same_file, write_all
from qbnnc.ir.model import Model

SUFFIXES = (".onnx", ".qbnn")


def check_outputs(
    outputs: Sequence[str | os.PathLike[str]], inputs: Sequence[str | os.PathLike[str]] = ()
) -> list[Path]:
    """The paths, before any work is done; UserError if one cannot be an artefact.

    `inputs` are the files, and folders of files, that the artefacts are made from: none of them is
    replaced.
    """
    paths = [Path(output) for output in outputs]
    if not paths:
        raise UserError("no output: name one or more with -o model.onnx or -o model.qbnn")
    for path in paths:
        if sum(same_file(path, other) for other in paths) > 1:
            raise FileError("named twice as an output", path)
        if path.suffix not in SUFFIXES:
            raise FileError(f"the suffix must be one of {', '.join(SUFFIXES)}", path)
        check_output(path)
    check_apart(paths, [file for path in inputs for file in _files_of(Path(path))])
    if any(path.suffix == ".onnx" for path in paths):
        require("onnx", "onnx_ir", "onnxscript", what="writing ONNX")
    return paths


def write_artefacts(model: Model, paths: Sequence[Path]) -> None:
    """Make every artefact, then write each whole."""
    write_all([(path, _bytes(model, path)) for path in paths])


def _files_of(path: Path) -> list[Path]:
    """The file, or those in the folder: the members of an ensemble."""
    return [each for each in path.iterdir() if each.is_file()] if path.is_dir() else [path]


def _bytes(model: Model, path: Path) -> bytes:
    if path.suffix == ".onnx":
        from qbnnc.backends.onnx import emit

        return emit(model)
    return format.to_bytes(model)
