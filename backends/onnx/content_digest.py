"""The digest of an ONNX file's content: the file is whole, and is as qbnnc wrote it.

The metadata property "content" is the SHA-256 of the file's bytes without that property. They are
what protobuf writes deterministically, so that a tool that only reads and writes a file keeps them.
It is no signature: it finds changes by tools and accidents, and does not tell who made the file.
"""

from __future__ import annotations

import hashlib
import os
import warnings

from qbnnc.backends.onnx.proto import File
from qbnnc.support.errors import ArtefactWarning, FileError

KEY = "content"


def content_digest(*parts: bytes | memoryview) -> str:
    """The digest of a file without it, whose bytes are these parts."""
    made = hashlib.sha256()
    for part in parts:
        made.update(part)
    return made.hexdigest()


def check_content(file: File, path: str | os.PathLike[str]) -> None:
    """Raise FileError if a file was changed or has parts elsewhere.

    ArtefactWarning for a file of a qbnnc that wrote no digest: no change of it can be noticed.
    """
    for tensor in file.tensors_elsewhere():  # onnxruntime would open that file
        raise FileError(
            f"the tensor {tensor[:60]!r} lies in another file, and files of qbnnc are whole",
            path,
            remedy="compile the model again",
        )
    stored = file.spans_of(KEY)
    if not stored:
        warnings.warn(
            f"{os.fspath(path)}: made by an older qbnnc, which wrote no digest of the graph, so "
            "that a change of it would not be noticed: compile it again",
            ArtefactWarning,
            stacklevel=2,
        )
        return
    start, end, digest = stored[0]
    whole = file.model.data
    if len(stored) > 1 or digest != content_digest(whole[:start], whole[end:]):
        raise FileError("changed after qbnnc made it", path, remedy="compile it again")
