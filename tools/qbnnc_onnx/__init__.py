"""Runs the .onnx files that qbnnc compiles, with numpy and onnxruntime alone.

    import qbnnc_onnx
    prediction = qbnnc_onnx.load("model.onnx").predict(x, samples=20, seed=7)

Rows of a batch draw their masks by number. Rows one by one need `first_row=0`, 1, 2, ...: without
it each has the masks of row 0.

The distribution qbnnc-onnx is built from this file and from what it imports (`hatch_build.py`).
"""

from __future__ import annotations

import os

from qbnnc.backends.onnx.session import OnnxArtefact
from qbnnc.support.errors import ArtefactWarning, FileError, InputError, UserError
from qbnnc.version import __version__

__all__ = [
    "ArtefactWarning",
    "FileError",
    "InputError",
    "OnnxArtefact",
    "UserError",
    "__version__",
    "load",
]


def load(path: str | os.PathLike[str], threads: int | None = None) -> OnnxArtefact:
    """A compiled .onnx file, ready to predict (`OnnxArtefact.predict`).

    `threads`: how many threads an operator may use; onnxruntime decides by default. Raises
    FileError for a file that is missing or damaged, was changed, or is not of qbnnc.
    ArtefactWarning is for one so old that it cannot say whether it was changed.
    """
    return OnnxArtefact.load(path, threads)
