"""Whether this environment's onnxruntime or runtime gives the oracle's bits.

    python tools/versions/check.py onnxruntime|runtime FOLDER

FOLDER is what artefacts.py made. Needs numpy, and what it asks about. Exits with 1 where a
network does not load or a bit differs, and says which.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]
INPUTS = ("input", "seed", "first_row")


def by_onnxruntime(file: Path, feed: Arrays) -> Arrays:
    """Samples by their names, at the default options of a session."""
    from onnxruntime import InferenceSession

    session = InferenceSession(str(file), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feed), strict=True))


def by_runtime(file: Path, feed: Arrays) -> Arrays:
    """The same of a .qbnn file."""
    from qbnnc.runtime import load

    seed, first_row = int(feed["seed"]), int(feed["first_row"])
    return load(file).predict(feed["input"], seed=seed, first_row=first_row)


BACKENDS = {"onnxruntime": (by_onnxruntime, ".onnx"), "runtime": (by_runtime, ".qbnn")}


def main() -> None:
    run, suffix = BACKENDS[sys.argv[1]]
    expected = sorted(Path(sys.argv[2]).glob("*.npz"))
    wrong = [] if expected else ["no networks in the folder"]
    for file in expected:
        with np.load(file) as stored:
            arrays = dict(stored)
        feed = {name: arrays.pop(name) for name in INPUTS}
        made = run(file.with_suffix(suffix), feed)
        for name, samples in arrays.items():
            if made[name].tobytes() != samples.tobytes():
                wrong.append(f"{file.stem}: {name} differs")
    sys.exit("\n".join(wrong) or None)


if __name__ == "__main__":
    main()
