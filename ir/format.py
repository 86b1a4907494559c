"""The file format of a Model at any stage; `.qbnn` is its usual suffix.

It is a safetensors file. The header is a JSON object of tensor names, dtypes, shapes and offsets.
It holds the tensors of each member, "<member>/<name>" (`qbnnc.ir.records`), and "calibration". The
header's metadata has one key, "qbnnc", which holds

    {"version": 2, "sha256": "...", "shared": {"<name>": "<name>"},
     "model": {"stage", "members", "head", "draws", "provenance"}}

1. Equal tensors are stored once, under the first name in the order of members. "shared" gives the
   others' names. A constant or node of a later member is a 0 if its record is that of the first
   member at the same place.
2. The SHA-256 is the Model's digest (`digest`). It covers version, model, and each tensor's name
   and own SHA-256, so that sharing does not change it.
3. A field that came with version 2 is left out while it has its default (`qbnnc.ir.codec`).
   Versions 3 and 4 have more ops, and are only written for models that hold one of them. From
   version 4 on a long text of "qbnnc" is packed (`qbnnc.ir.packed_text`).
4. A file of version 1 has no "shared", its members' records are whole, and its SHA-256 is of the
   tensors themselves. It is read as it always was. The Model keeps `version` 1, and so its digest
   and its bytes, also when it is relabelled. It loses them once version 1 cannot hold it.

Nothing depends on a CPU, a batch size or a number of samples; no offset is ever read.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping

import numpy as np

from qbnnc.ir.codec import (
    VERSION,
    DecodeError,
    Json,
    decode,
    encode,
    entries,
    items,
    number,
    text,
    version_of,
)
from qbnnc.ir.head import Head
from qbnnc.ir.model import Model, Provenance
from qbnnc.ir.packed_text import pack, unpack
from qbnnc.ir.records import Tensors, graph_record, graph_tensors, read_graph
from qbnnc.ir.stored import (
    bytes_of,
    content_keys,
    equal_tensors,
    fold_members,
    unfold_members,
    with_shared,
)
from qbnnc.ir.strict_json import parse
from qbnnc.ir.tensors import read as read_tensors
from qbnnc.ir.types import Array, Stage
from qbnnc.support import limits
from qbnnc.support.errors import FileError, UserError
from qbnnc.support.files import read_bytes, write_atomically

_KEY = "qbnnc"
_CALIBRATION = "calibration"
_PACKED_SINCE = 4


def to_bytes(
    model: Model, shared: Mapping[str, str] | None = None, *, packed: bool = True
) -> bytes:
    """The file as bytes, the same for the same Model.

    `shared` says which tensors are stored under another's name, whatever they hold; by default
    those that are equal (`shared_tensors`). From version 4 on a long record is `packed`.
    """
    from safetensors.numpy import save as save_tensors  # files are read, and run, without it

    version, tensors = _version(model), _tensors(model)
    if shared is not None:
        tensors = {name: tensors[shared.get(name, name)] for name in tensors}
    record = _record(model, version)
    header: dict[str, Json] = {
        "version": version,
        "sha256": _sha256(version, record, tensors),
        "model": record,
    }
    if version > 1:
        shared = equal_tensors(content_keys(tensors)) if shared is None else shared
        header["shared"] = dict(shared)
        tensors = {name: array for name, array in tensors.items() if name not in shared}
    text = _canonical(header)
    text = pack(text) if packed and version >= _PACKED_SINCE else text
    return save_tensors(tensors, metadata={_KEY: text})


def shared_tensors(model: Model, stripped: Model | None = None) -> dict[str, str]:
    """The tensors that equal an earlier one, and which: "1/fc.weight" and "0/fc.weight".

    With `stripped`, the same Model without some numbers, those that are equal in both.
    """
    shared = equal_tensors(content_keys(_tensors(model)))
    if stripped is None:
        return shared
    left = content_keys(_tensors(stripped))
    return {name: owner for name, owner in shared.items() if left[name] == left[owner]}


def digest(model: Model) -> str:
    """SHA-256 of the Model, as hexadecimal text: equal for equal Models, in any artefact."""
    version = _version(model)
    return _sha256(version, _record(model, version), _tensors(model))


def save(model: Model, path: str | os.PathLike[str]) -> None:
    """Write the file whole or not at all; FileError if it cannot be written."""
    write_atomically(path, to_bytes(model))


def load(path: str | os.PathLike[str]) -> Model:
    """The Model in a file; FileError if it is damaged, of another kind, or of a newer version."""
    return from_bytes(read_bytes(path), path)


def from_bytes(
    data: bytes, path: str | os.PathLike[str] = "model", *, complete: bool = True
) -> Model:
    """The Model in `data`, with arrays that are views of the bytes; `path` is for the error.

    Unless it is `complete` some constants are zeros: the caller fills them in, and checks it then.
    """
    header, stored = _opened(data, path)
    version, expected, record = (header.get(k) for k in ("version", "sha256", "model"))
    if isinstance(version, int) and version > VERSION:
        raise FileError(
            f"made by a newer qbnnc (format {version}; this one reads {VERSION})",
            path,
            remedy="upgrade qbnnc, or compile the model again",
        )
    damaged = FileError(
        "damaged (its SHA-256 does not match)", path, remedy="copy or compile it again"
    )
    if type(version) is not int or version < 1:
        raise damaged
    try:
        tensors = with_shared(stored, {} if version == 1 else header.get("shared"))
    except DecodeError:
        raise damaged from None
    if expected != _sha256(version, record, tensors):
        raise damaged
    try:
        model = _model(record, tensors, version)
        model.check(complete=complete)
    except (DecodeError, UserError) as error:
        raise FileError(
            f"no model this version can read ({error})", path, remedy="compile it again"
        ) from None
    return model


def is_model(data: bytes) -> bool:
    """Whether these bytes begin like one of our files (a safetensors header with our key)."""
    length = int.from_bytes(data[:8], "little")
    last = 8 + min(length, limits.HEADER.most)
    return data[8:9] == b"{" and data.find(f'"{_KEY}"'.encode(), 8, last) >= 0


def _opened(data: bytes, path: object) -> tuple[dict[str, Json], dict[str, Array]]:
    """Our header, and the tensors that are stored."""
    if not is_model(data):
        raise FileError("not a qbnnc model, or truncated", path, remedy="give a file made by qbnnc")
    try:
        container = read_tensors(data)
    except DecodeError as error:
        raise FileError(f"truncated or damaged ({error})", path, remedy="copy it again") from None
    try:
        header = parse(unpack(container.metadata.get(_KEY, "")))
    except DecodeError as error:
        raise FileError(
            f"not a qbnnc model ({error})", path, remedy="give a file made by qbnnc"
        ) from None
    if not isinstance(header, dict):
        raise FileError("not a qbnnc model", path, remedy="give a file made by qbnnc")
    return header, container.tensors


def _version(model: Model) -> int:
    """The Model's, or a later one that can say all of it."""
    ops = tuple(node.op for member in model.members for node in member.nodes)
    return max(model.version, version_of((model.head, model.provenance, ops)))


def _record(model: Model, version: int) -> dict[str, Json]:
    members = [graph_record(member) for member in model.members]
    return {
        "stage": model.stage.name,
        "members": members if version == 1 else fold_members(members),
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


def _model(record: Json, tensors: dict[str, Array], version: int) -> Model:
    stage, members, head, draws, provenance = entries(
        record, "a model", "stage", "members", "head", "draws", "provenance"
    )
    listed = items(members, "the members")
    whole, named = listed if version == 1 else unfold_members(listed), text(stage, "the stage")
    if named not in Stage.__members__:
        raise DecodeError(f"there is no stage {named[:80]!r}")
    _check_size(whole)
    read = {_CALIBRATION}
    graphs = tuple(
        read_graph(member, Stage[named], Tensors(tensors, f"{place}/", version, read))
        for place, member in enumerate(whole)
    )
    if unread := sorted(tensors.keys() - read):
        raise DecodeError(f"nothing reads the tensor {unread[0][:80]!r}")
    return Model(
        graphs,
        decode(Head, head, version),
        number(draws, "draws"),
        decode(Provenance, provenance, version),
        tensors.get(_CALIBRATION),
        version,
    )


def _check_size(members: list[Json]) -> None:
    """DecodeError if all members together have more nodes than a model may have."""
    counts = (
        len(nodes)
        for member in members
        if isinstance(member, dict) and isinstance(nodes := member.get("nodes"), list)
    )
    try:
        limits.MEMBERS.check(len(members))
        limits.ALL_NODES.check(sum(counts))
    except ValueError as error:
        raise DecodeError(str(error)) from None


def _sha256(version: int, record: Json, tensors: dict[str, Array]) -> str:
    hash = hashlib.sha256(_canonical({"version": version, "model": record}).encode())
    if version > 1:
        hash.update(_canonical(dict(content_keys(tensors))).encode())
        return hash.hexdigest()
    for name in sorted(tensors):
        array = tensors[name]
        hash.update(_canonical([name, array.dtype.str, list(array.shape)]).encode())
        hash.update(bytes_of(array))
    return hash.hexdigest()


def _canonical(value: Json) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
