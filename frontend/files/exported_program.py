"""Exported programs on disk: loaded safely, and saved with calibration rows."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch.export import ExportedProgram

from qbnnc.frontend.files.sanitise_program import sanitise
from qbnnc.frontend.module.training_mode import Dropout
from qbnnc.frontend.torch_messages import first_line, quiet_torch
from qbnnc.support.errors import FileError, InputError
from qbnnc.support.files import write_atomically
from qbnnc.support.numpy_files import array_of
from qbnnc.support.several_inputs import Entries, Entry

MAX_CALIBRATION_ROWS = 512
_CALIBRATION = "qbnnc_calibration.npy.base64"
_METHOD = "qbnnc_method.json"
_MOST_AXES = 64
_LARGEST = 2**27  # extent of an input
_LONGEST = 1000  # characters in a description


@dataclass(frozen=True, slots=True)
class StoredProgram:
    """A program, and what was stored beside it; `calibration` is [rows, ...] float32.

    `dropout`, `checked`, `outputs` and `member_axis` are those given when the program was saved.
    `inputs` are several inputs, which the program takes one after another in its rows.
    """

    program: ExportedProgram
    calibration: NDArray[np.float32] | None
    dropout: Dropout | None
    checked: str = ""
    outputs: tuple[str, ...] = ()
    inputs: Entries = ()
    member_axis: int | None = None


def load_program(path: Path) -> StoredProgram:
    """Load without running code from the file; FileError if it is hostile or damaged."""
    safe = sanitise(path)
    try:
        with quiet_torch():
            program = torch.export.load(safe.archive)
    except Exception as error:  # torch.export.load documents none of what it raises
        raise FileError(
            f"cannot be loaded by torch {torch.__version__} ({first_line(error)})",
            path,
            remedy="save the program again with this version",
        ) from error
    method = _method(safe.extra, path)
    rows = _calibration(safe.extra, path)
    return StoredProgram(
        program,
        rows,
        _dropout(method),
        _checked(method),
        _outputs(method),
        _inputs(method, path),
        _member_axis(method),
    )


def write_program(
    program: ExportedProgram,
    path: Path,
    calibration: NDArray[np.float32] | None,
    method: Mapping[str, object],
) -> None:
    """Write the program atomically, with at most MAX_CALIBRATION_ROWS evenly spaced rows.

    FileError if the file cannot be written, InputError if a row is not finite.
    """
    extra = {_METHOD: json.dumps(dict(method), sort_keys=True)}
    if calibration is not None:
        extra[_CALIBRATION] = _as_text(calibration)
    buffer = io.BytesIO()  # torch logs warnings about file names that do not end in .pt2
    with quiet_torch():
        torch.export.save(program, buffer, extra_files=extra)
    write_atomically(path, buffer.getvalue())


def _as_text(rows: NDArray[np.float32]) -> str:
    """The .npy bytes in base64, as extra files are text."""
    if not np.isfinite(rows).all():
        raise InputError("the calibration rows hold NaN or infinity", remedy="leave those rows out")
    count = min(len(rows), MAX_CALIBRATION_ROWS)
    chosen = rows[np.linspace(0, len(rows) - 1, count).round().astype(int)] if count else rows
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(chosen, np.float32), allow_pickle=False)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _calibration(extra: Mapping[str, bytes], path: Path) -> NDArray[np.float32] | None:
    if _CALIBRATION not in extra:
        return None
    try:
        raw = base64.b64decode(extra[_CALIBRATION], validate=True)
        rows = array_of(raw, path)
    except (ValueError, FileError) as error:
        raise FileError(
            "holds damaged calibration rows", path, remedy="save the program again"
        ) from error
    if rows.dtype != np.float32 or rows.ndim < 2:
        raise FileError(
            "holds calibration rows that are not float32 [rows, ...]",
            path,
            remedy="save the program again",
        )
    return np.asarray(rows, np.float32)


def _method(extra: Mapping[str, bytes], path: Path) -> object:
    try:
        method: object = json.loads(extra.get(_METHOD, b"{}"))
    except (ValueError, RecursionError) as error:
        raise FileError(
            "holds a damaged description", path, remedy="save the program again"
        ) from error
    return method


def _dropout(method: object) -> Dropout | None:
    match method:
        case {"dropout": "active" | "off" as dropout}:
            return cast(Dropout, dropout)
        case _:
            return None


def _checked(method: object) -> str:
    """The text that tells how the program was compared with its module when it was saved."""
    match method:
        case {"distribution": str() as text} if len(text) <= _LONGEST and text.isprintable():
            return text
        case _:
            return ""


def records_of(inputs: Entries) -> list[dict[str, object]]:
    """Several inputs as JSON has them."""
    return [{"name": each.name, "shape": list(each.shape), "whole": each.whole} for each in inputs]


def _inputs(method: object, path: Path) -> Entries:
    """The inputs in the order of the row; FileError for records that describe none."""
    match method:
        case {"inputs": [*records]}:
            pass
        case _:
            return ()
    entries, start = list[Entry](), 0
    for record in records:
        match record:
            case {"name": str(name), "shape": [*shape], "whole": bool(whole)} if all(
                type(extent) is int and 0 < extent <= _LARGEST for extent in shape
            ):
                entries.append(Entry(name, tuple(shape), start, whole))
                start = entries[-1].stop
            case _:
                raise FileError(
                    "holds a damaged description of its inputs",
                    path,
                    remedy="save the program again",
                )
    return tuple(entries)


def _outputs(method: object) -> tuple[str, ...]:
    match method:
        case {"outputs": [*names]} if all(isinstance(name, str) for name in names):
            return tuple(names)
        case _:
            return ()


def _member_axis(method: object) -> int | None:
    match method:
        case {"member_axis": int() as axis} if abs(axis) < _MOST_AXES:
            return axis
        case _:
            return None
