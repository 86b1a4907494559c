"""The file format of a Model at any stage; `.qbnn` is its usual suffix.

A safetensors file (its header is a JSON object of tensor names, dtypes, shapes and offsets). The
tensors are those of each member, "<member>/<name>" (`qbnnc.ir.records`), and "calibration". The
header's metadata has one key, "qbnnc", which holds

    {"version": 1, "sha256": "...", "model": {"stage", "members", "head", "draws", "provenance"}}

The SHA-256 is over version, model and tensors in a canonical form (`digest`); it is the Model's
digest. Nothing depends on a CPU, a batch size or a number of samples; no offset is ever read.
"""

from __future__ import annotations

import hashlib
import json
import os
from typing import Any, NoReturn

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from qbnnc.ir.codec import DecodeError, Json, decode, encode
from qbnnc.ir.errors import FileError, UserError
from qbnnc.ir.files import read_bytes, write_atomically
from qbnnc.ir.head import Head
from qbnnc.ir.model import Model, Provenance
from qbnnc.ir.records import graph_record, graph_tensors, read_graph
from qbnnc.ir.types import Array, Stage

VERSION = 1
_KEY = "qbnnc"
_CALIBRATION = "calibration"
_UNREADABLE = (UserError, ArithmeticError, LookupError, TypeError, ValueError)


def to_bytes(model: Model) -> bytes:
    """The file as bytes, the same for the same Model."""
    record, tensors = _record(model), _tensors(model)
    header: dict[str, Json] = {
        "version": VERSION,
        "sha256": _sha256(record, tensors),
        "model": record,
    }
    return save_tensors(tensors, metadata={_KEY: _canonical(header)})


def digest(model: Model) -> str:
    """SHA-256 of the Model, as hexadecimal text: equal for equal Models, in any artefact."""
    return _sha256(_record(model), _tensors(model))


def save(model: Model, path: str | os.PathLike[str]) -> None:
    """Write the file whole or not at all; FileError if it cannot be written."""
    write_atomically(path, to_bytes(model))


def load(path: str | os.PathLike[str]) -> Model:
    """The Model in a file; FileError if it is damaged, of another kind, or of a newer version."""
    return from_bytes(read_bytes(path), path)


def from_bytes(data: bytes, path: str | os.PathLike[str] = "model") -> Model:
    """The Model in `data`; `path` is for the error."""
    header = _header(data, path)
    version, expected, record = (header.get(k) for k in ("version", "sha256", "model"))
    if isinstance(version, int) and version > VERSION:
        raise FileError(
            f"made by a newer qbnnc (format {version}; this one reads {VERSION}): upgrade qbnnc, "
            "or compile the model again",
            path,
        )
    tensors = _load_tensors(data, path)
    if version != VERSION or expected != _sha256(record, tensors):
        raise FileError("damaged (its SHA-256 does not match): copy or compile it again", path)
    try:
        model = _model(record, tensors)
        model.check()
    except _UNREADABLE as error:
        raise FileError(
            f"no model this version can read ({error}): compile it again", path
        ) from None
    return model


def is_model(data: bytes) -> bool:
    """Whether these bytes begin like one of our files (a safetensors header with our key)."""
    length = int.from_bytes(data[:8], "little")
    return data[8:9] == b"{" and f'"{_KEY}"'.encode() in data[8 : 8 + min(length, 1 << 26)]


def _header(data: bytes, path: object) -> dict[str, Json]:
    length = int.from_bytes(data[:8], "little")
    try:
        if not is_model(data) or length > len(data) - 8:
            raise ValueError
        header = _parse(_parse(data[8 : 8 + length])["__metadata__"][_KEY])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise FileError(
            "not a qbnnc model, or truncated: give a file made by qbnnc", path
        ) from None
    if not isinstance(header, dict):
        raise FileError("not a qbnnc model: give a file made by qbnnc", path)
    return header


def _parse(text: bytes | str) -> Any:
    """JSON, without the NaN and Infinity that Python adds to it."""
    return json.loads(text, parse_constant=_refuse_constant)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _load_tensors(data: bytes, path: object) -> dict[str, Array]:
    try:
        return load_tensors(data)
    except (SafetensorError, KeyError, ValueError) as error:
        raise FileError(f"truncated or damaged ({error}): copy it again", path) from None


def _record(model: Model) -> dict[str, Json]:
    return {
        "stage": model.stage.name,
        "members": [graph_record(member) for member in model.members],
        "head": encode(model.head),
        "draws": model.draws,
        "provenance": encode(model.provenance),
    }


def _tensors(model: Model) -> dict[str, Array]:
    tensors = {
        f"{number}/{name}": array
        for number, member in enumerate(model.members)
        for name, array in graph_tensors(member).items()
    }
    if model.calibration is not None:
        tensors[_CALIBRATION] = np.ascontiguousarray(model.calibration)
    return tensors


def _model(record: Json, tensors: dict[str, Array]) -> Model:
    if not isinstance(record, dict) or not isinstance(record.get("members"), list):
        raise DecodeError("a model has members")
    members, draws = record["members"], record["draws"]
    assert isinstance(members, list)
    if type(draws) is not int:
        raise DecodeError("draws is a whole number")
    stage = Stage[str(record["stage"])]
    graphs = tuple(read_graph(m, stage, f"{i}/", tensors) for i, m in enumerate(members))
    return Model(
        graphs,
        decode(Head, record["head"]),
        draws,
        decode(Provenance, record["provenance"]),
        tensors.get(_CALIBRATION),
    )


def _sha256(record: Json, tensors: dict[str, Array]) -> str:
    hash = hashlib.sha256(_canonical({"version": VERSION, "model": record}).encode())
    for name in sorted(tensors):
        array = tensors[name]
        hash.update(_canonical([name, array.dtype.str, list(array.shape)]).encode())
        hash.update(array.tobytes())
    return hash.hexdigest()


def _canonical(value: Json) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
