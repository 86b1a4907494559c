"""The format of a file, detected from its bytes and never from its name.

Nothing is unpickled, and no archive member is executed or extracted: only the list of names is read
from a zip. This file needs neither torch nor onnx.
"""

from __future__ import annotations

import codecs
import json
import zipfile
from collections.abc import Mapping
from enum import Enum, auto
from pathlib import Path

from qbnnc.support.errors import FileError
from qbnnc.support.files import DAMAGE, check_regular


class FileKind(Enum):
    EXPORTED_PROGRAM = auto()  # torch.export.save, whatever the file is called
    OLD_EXPORTED_PROGRAM = auto()  # torch.export.save before torch 2.7
    TORCH_SAVE = auto()  # torch.save of weights or a whole module; loading tells them apart
    SAFETENSORS = auto()
    QBNN = auto()  # a safetensors file with a "qbnnc" key in its metadata
    TORCHSCRIPT = auto()
    LEGACY_TORCH_SAVE = auto()  # torch.save before 1.6: a bare pickle
    PICKLE = auto()
    ONNX = auto()
    NUMPY = auto()
    TEXT = auto()
    ZIP = auto()
    TRUNCATED = auto()
    EMPTY = auto()
    UNKNOWN = auto()


_SAVE_AGAIN = (
    "save the model with qbnnc.save(module, path, example_inputs), or its weights with "
    "torch.save(module.state_dict(), path) and pass `model='package.module:factory'`"
)
_COPY_AGAIN = "copy or download it again"
NOT_READ: Mapping[FileKind, tuple[str, str]] = {
    FileKind.OLD_EXPORTED_PROGRAM: (
        "is an exported program of an old torch (before 2.7)",
        "export and save it again with a newer one",
    ),
    FileKind.TORCHSCRIPT: ("is a TorchScript archive, which is not read", _SAVE_AGAIN),
    FileKind.LEGACY_TORCH_SAVE: (
        "was written by torch.save in the legacy pickle format, and opening a pickle runs code "
        "from the file",
        f"load it in a torch you trust and {_SAVE_AGAIN}",
    ),
    FileKind.PICKLE: (
        "is a pickle, and opening a pickle runs code from the file",
        f"load it where you trust it and {_SAVE_AGAIN}",
    ),
    FileKind.ONNX: (
        "is an ONNX model, which has lost the Bayesian layers",
        f"start from the PyTorch module: {_SAVE_AGAIN}",
    ),
    FileKind.NUMPY: ("holds numpy arrays, not a model", _SAVE_AGAIN),
    FileKind.TEXT: (
        "is a text file, not a model",
        "pass Python code as `model='package.module:factory'`, next to a file with its weights",
    ),
    FileKind.ZIP: ("is a zip archive of a kind that is not known", _SAVE_AGAIN),
    FileKind.TRUNCATED: ("is cut off or damaged", _COPY_AGAIN),
    FileKind.EMPTY: ("is empty", _COPY_AGAIN),
    FileKind.UNKNOWN: ("is of a kind that is not known", _SAVE_AGAIN),
}
"""The message and the remedy for each kind that is never read."""


def detect_format(path: Path) -> FileKind:
    """The kind of the file at `path`; FileError if it cannot be read."""
    try:
        if path.exists():
            check_regular(path)
        with open(path, "rb") as file:
            head = file.read(64)
        if head[:4] == b"PK\x03\x04":
            return _zip_format(path)
        return _safetensors_format(path, head) or _format_of_head(head)
    except OSError as error:
        reason = error.strerror or str(error)
        raise FileError(f"cannot be read ({reason})", path, remedy="check the path") from error


def not_read(path: Path, kind: FileKind) -> FileError:
    """The error for a kind that is never read: what it is, and what to do instead."""
    message, remedy = NOT_READ[kind]
    return FileError(message, path, remedy)


def _zip_format(path: Path) -> FileKind:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except DAMAGE:
        return FileKind.TRUNCATED
    inner = {name.split("/", 1)[-1] for name in names}
    if "archive_format" in inner and any(_is_model_json(name) for name in inner):
        return FileKind.EXPORTED_PROGRAM
    if "serialized_exported_program.json" in {*names, *inner}:
        return FileKind.OLD_EXPORTED_PROGRAM
    if "constants.pkl" in inner and any(name.startswith("code/") for name in inner):
        return FileKind.TORCHSCRIPT
    if "data.pkl" in inner:
        return FileKind.TORCH_SAVE
    if names and all(name.endswith(".npy") for name in names):
        return FileKind.NUMPY
    return FileKind.ZIP


def _is_model_json(name: str) -> bool:
    return name.startswith("models/") and name.endswith(".json")


def _safetensors_format(path: Path, head: bytes) -> FileKind | None:
    """8 bytes of little-endian header length, then a JSON object (safetensors format)."""
    length, size = int.from_bytes(head[:8], "little"), path.stat().st_size
    if head[8:9] != b"{" or length > 100_000_000:
        return None
    if size < 8 + length:
        return FileKind.TRUNCATED
    with open(path, "rb") as file:
        file.seek(8)
        raw = file.read(length)
    try:
        header = json.loads(raw)
    except (ValueError, RecursionError):
        return FileKind.TRUNCATED
    metadata = header.get("__metadata__")
    if isinstance(metadata, dict) and "qbnnc" in metadata:
        return FileKind.QBNN
    ends = [_end_of(entry) for name, entry in header.items() if name != "__metadata__"]
    return FileKind.TRUNCATED if size < 8 + length + max(ends, default=0) else FileKind.SAFETENSORS


def _end_of(entry: object) -> int:
    match entry:
        case {"data_offsets": [int(), int(end)]}:
            return end
        case _:
            return 0


def _format_of_head(head: bytes) -> FileKind:
    if not head:
        return FileKind.EMPTY
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        legacy = b"l\xfc\x9cF\xf9 j\xa8P\x19" in head  # torch's magic number, pickled
        return FileKind.LEGACY_TORCH_SAVE if legacy else FileKind.PICKLE
    if head[:6] == b"\x93NUMPY":
        return FileKind.NUMPY
    if head[:1] == b"\x08" and head[2:3] in (b"\x12", b"\x1a", b"\x22", b"\x2a", b"\x3a", b"B"):
        return FileKind.ONNX  # ModelProto: field 1 (ir_version), then a string or message field
    if b"PK\x03\x04".startswith(head):
        return FileKind.TRUNCATED
    return FileKind.TEXT if _is_text(head) else FileKind.UNKNOWN


def _is_text(head: bytes) -> bool:
    """Whether this is UTF-8 without control characters; the last character may be cut off."""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return all(character.isprintable() or character.isspace() for character in text)
