"""Files of earlier versions of the format, as the compilers of their time wrote them."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_FILES = Path(__file__).parent / "data" / "version1.zip"


def golden(name: str) -> bytes:
    """One of the files: float.qbnn, bayesian.qbnn, ensemble.qbnn, ensemble.onnx."""
    with zipfile.ZipFile(_FILES) as file:
        return file.read(name)


def results() -> dict[str, NDArray[np.generic]]:
    """The results of that compiler: "<file>_input", "_<output>" (samples at seed 5), "_digest"."""
    with np.load(io.BytesIO(golden("results.npz"))) as file:
        return dict(file)
