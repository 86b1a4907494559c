"""Artefacts from a Model: which suffix means what, and writing all of them or none."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from qbnnc.ir import format
from qbnnc.ir.model import Model
from qbnnc.loading.project_folder import left_over, made_folders, remove
from qbnnc.support.errors import FileError, UserError
from qbnnc.support.extras import require
from qbnnc.support.files import check_apart, check_output, same_file, write_all
from qbnnc.support.inputs import MOST_ROWS_AT_ONCE, as_count, as_integer

SUFFIXES = (".onnx", ".qbnn", ".c")


@dataclass(frozen=True, slots=True)
class OnnxOptions:
    """Options of .onnx files (`qbnnc.backends.onnx.emission.emit`)."""

    embedded_model: bool = True
    batch: int | None = None
    inline: bool = False
    row_ids: bool = False
    default_seed: int | None = None

    @property
    def given(self) -> str:
        """The first option that is not at its default, as messages name it; or ""."""
        if not self.embedded_model:
            return "`embedded_model=False`"
        options = {
            "`batch`": self.batch is not None,
            "`inline`": self.inline,
            "`row_ids`": self.row_ids,
            "`default_seed`": self.default_seed is not None,
        }
        return next((name for name, given in options.items() if given), "")

    def emit(self, model: Model) -> bytes:
        """The file of a Model."""
        from qbnnc.backends.onnx import emit

        return emit(
            model,
            embedded_model=self.embedded_model,
            batch=self.batch,
            inline=self.inline,
            row_ids=self.row_ids,
            default_seed=self.default_seed,
        )


@dataclass(frozen=True, slots=True)
class COptions:
    """Options of C artefacts.

    `ram` is the most bytes of the values, `prefix` the beginning of all names, and `blob` tells
    whether large constants are no text; None is the default of each.
    """

    ram: int | None = None
    prefix: str | None = None
    blob: bool | None = None

    @property
    def given(self) -> str | None:
        """The name of an option that was given."""
        fields = {"ram": self.ram, "prefix": self.prefix, "blob": self.blob}
        return next((name for name, value in fields.items() if value is not None), None)


def check_outputs(
    outputs: Sequence[str | os.PathLike[str]],
    inputs: Sequence[str | os.PathLike[str]] = (),
    *,
    onnx: OnnxOptions = OnnxOptions(),
    c: COptions = COptions(),
) -> list[Path]:
    """The paths, before any work is done; UserError if one cannot be an artefact.

    A path that ends with a slash, or is a folder, is a firmware project. `inputs` are the files,
    and folders of files, that the artefacts are made from: none of them is replaced. With
    an option of `onnx` there is an .onnx among them, with an option of `c` a .c or a folder.
    """
    paths = [Path(output) for output in outputs]
    if not paths:
        raise UserError("no output", remedy="name one or more, such as model.onnx or model.qbnn")
    written = list[Path]()
    for path, output in zip(paths, outputs, strict=True):
        if sum(same_file(path, other) for other in paths) > 1:
            raise FileError("named twice as an output", path, remedy="name it once")
        _check_suffix(path, folder=os.fspath(output).endswith(("/", os.sep)))
        if path.suffix not in (".onnx", ".qbnn"):
            from qbnnc.loading.c_files import check_c

            written += check_c(path, c)
        else:
            check_output(path)
            written.append(path)
    check_apart(written, [file for path in inputs for file in _files_of(Path(path))])
    if c.given and all(path.suffix in (".onnx", ".qbnn") for path in paths):
        raise UserError(
            "is for .c files and folders", place=f"`{c.given}`", remedy="name one as an output"
        )
    some_onnx = any(path.suffix == ".onnx" for path in paths)
    if onnx.given and not some_onnx:
        raise UserError(
            "is for .onnx files",
            place=onnx.given,
            remedy="name one with `outputs='model.onnx'`",
        )
    if onnx.batch is not None:
        as_count(onnx.batch, "`batch`", MOST_ROWS_AT_ONCE)
    if onnx.default_seed is not None:
        as_integer(onnx.default_seed, "`default_seed`")
    if some_onnx:
        require("onnx", "onnx_ir", what="writing ONNX")
    return paths


def write_artefacts(
    model: Model,
    paths: Sequence[Path],
    *,
    onnx: OnnxOptions = OnnxOptions(),
    c: COptions = COptions(),
) -> None:
    """Make every artefact, then write all of them or none."""
    files, projects, old = dict[Path, bytes](), list[Path](), list[Path]()
    for path in paths:
        if path.suffix in (".onnx", ".qbnn"):
            is_onnx = path.suffix == ".onnx"
            files[path] = onnx.emit(model) if is_onnx else format.to_bytes(model)
            continue
        from qbnnc.loading.c_files import c_artefact

        made = c_artefact(model, path, c)
        files |= made
        if path.suffix != ".c":
            projects += made
            old += left_over(path, list(made))
    with made_folders(projects):
        write_all(list(files.items()))
    remove(old)


def _check_suffix(path: Path, *, folder: bool) -> None:
    """FileError for a file with another suffix, and for a `folder` with a suffix of a file."""
    if path.suffix in SUFFIXES and folder:
        raise FileError("a folder must not end like a file", path, remedy="leave the slash out")
    if path.suffix not in SUFFIXES and not folder and not path.is_dir():
        suffixes = ", ".join(SUFFIXES)
        raise FileError(
            f"the suffix must be one of {suffixes}", path, remedy="a / at the end makes a folder"
        )


def _files_of(path: Path) -> list[Path]:
    """The file, or those in the folder: the members of an ensemble."""
    return [each for each in path.iterdir() if each.is_file()] if path.is_dir() else [path]
