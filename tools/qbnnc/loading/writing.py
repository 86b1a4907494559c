"""Artefacts from a Model: which suffix means what, and writing all of them or none."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from qbnnc.ir import format
from qbnnc.ir.model import Model
from qbnnc.support.errors import FileError, UserError
from qbnnc.support.extras import require
from qbnnc.support.files import check_apart, check_output, same_file, write_all

SUFFIXES = (".onnx", ".qbnn", ".c")


def check_outputs(
    outputs: Sequence[str | os.PathLike[str]],
    inputs: Sequence[str | os.PathLike[str]] = (),
    *,
    embedded_model: bool = True,
    ram: int | None = None,
) -> list[Path]:
    """The paths, before any work is done; UserError if one cannot be an artefact.

    `inputs` are the files, and folders of files, that the artefacts are made from: none of them is
    replaced. Without an `embedded_model` there is an .onnx among them, with a `ram` a .c.
    """
    paths = [Path(output) for output in outputs]
    if not paths:
        raise UserError("no output", remedy="name one or more, such as model.onnx or model.qbnn")
    for path in paths:
        if sum(same_file(path, other) for other in paths) > 1:
            raise FileError("named twice as an output", path, remedy="name it once")
        if path.suffix not in SUFFIXES:
            raise FileError(f"the suffix must be one of {', '.join(SUFFIXES)}", path)
        for file in files_of_artefact(path):
            check_output(file)
    written = [file for path in paths for file in files_of_artefact(path)]
    check_apart(written, [file for path in inputs for file in _files_of(Path(path))])
    if ram is not None and not any(path.suffix == ".c" for path in paths):
        raise UserError("is for .c files", place="`ram`", remedy="name one as an output")
    some_onnx = any(path.suffix == ".onnx" for path in paths)
    if not embedded_model and not some_onnx:
        raise UserError(
            "is for .onnx files",
            place="`embedded_model=False`",
            remedy="name one with `outputs='model.onnx'`",
        )
    if some_onnx:
        require("onnx", "onnx_ir", what="writing ONNX")
    return paths


def write_artefacts(
    model: Model, paths: Sequence[Path], *, embedded_model: bool = True, ram: int | None = None
) -> None:
    """Make every artefact, then write all of them or none.

    `ram` is the most bytes that the values of a .c take (`qbnnc.backends.c.to_c`).
    """
    files = list[tuple[Path, bytes]]()
    for path in paths:
        if path.suffix == ".c":
            files += _c_files(model, path, ram)
        else:
            files.append((path, _bytes(model, path, embedded_model=embedded_model)))
    write_all(files)


def files_of_artefact(path: Path) -> tuple[Path, ...]:
    """The files of an artefact: a .c has a header and a test beside it."""
    if path.suffix != ".c":
        return (path,)
    return path, path.with_suffix(".h"), path.with_name(f"{path.stem}_test.c")


def _c_files(model: Model, path: Path, ram: int | None) -> list[tuple[Path, bytes]]:
    from qbnnc.backends.c import golden_program, to_c

    source = to_c(model, path.stem, ram)
    texts = source.body, source.header, golden_program(model, path.stem)
    return [(f, t.encode()) for f, t in zip(files_of_artefact(path), texts, strict=True)]


def _files_of(path: Path) -> list[Path]:
    """The file, or those in the folder: the members of an ensemble."""
    return [each for each in path.iterdir() if each.is_file()] if path.is_dir() else [path]


def _bytes(model: Model, path: Path, *, embedded_model: bool) -> bytes:
    if path.suffix == ".onnx":
        from qbnnc.backends.onnx import emit

        return emit(model, embedded_model=embedded_model)
    return format.to_bytes(model)
