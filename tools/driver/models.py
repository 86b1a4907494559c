"""The INTEGER Model inside an artefact: what the oracle and `inspect` look at."""

from __future__ import annotations

import os

from qbnnc.extras import require
from qbnnc.ir import format
from qbnnc.ir.errors import FileError
from qbnnc.ir.files import read_bytes
from qbnnc.ir.model import Model
from qbnnc.ir.types import Stage


def read_integer_model(path: str | os.PathLike[str]) -> Model:
    """The Model of a .qbnn or .onnx artefact; FileError if it is none, or not INTEGER."""
    data = read_bytes(path)
    if not format.is_model(data):
        check_may_be_onnx(data, path)
        require("onnx", what=f"reading {os.fspath(path)}")
        from qbnnc.backends.onnx.read import read_model

        return read_model(data, path)
    model = format.from_bytes(data, path)
    if model.stage is not Stage.INTEGER:
        raise FileError(
            f"a {model.stage.name} model, not compiled yet: qbnnc compile {os.fspath(path)} -o ...",
            path,
        )
    return model


def check_may_be_onnx(data: bytes, path: str | os.PathLike[str]) -> None:
    """FileError unless this can be a protobuf: no zip, no pickle, no text."""
    if data.startswith((b"PK", b"\x80")) or b"\x00" not in data[:4096]:
        raise FileError(
            "neither a compiled .qbnn nor an .onnx file: compile the model first "
            "(qbnnc compile MODEL -o out.qbnn)",
            path,
        )
