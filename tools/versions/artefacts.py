"""Compile the networks that every version must run alike, and what the oracle says of them.

    python tools/versions/artefacts.py FOLDER

For each: NAME.onnx, NAME.qbnn, and NAME.npz with the input and the samples that must come out.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

import qbnnc
from qbnnc.ir.oracle import oracle_samples
from qbnnc.loading.sources import CalibrationWarning
from tools.bench.networks import Case, cases

NAMES = ("lenet_mcd", "lenet_bbb", "resnet18_mcd")
ROWS, SAMPLES, SEED, FIRST_ROW = 2, 4, 7, 3


def make(case: Case, folder: Path) -> None:
    """Random weights, calibrated on noise: only the bits matter."""
    torch.manual_seed(0)
    (network,) = case.make()
    x = np.random.default_rng(0).standard_normal((64, *case.shape)).astype(np.float32)
    files = [folder / f"{case.name}.qbnn", folder / f"{case.name}.onnx"]
    model = qbnnc.compile(
        network.eval(),
        files,
        calibration=x,
        samples=SAMPLES,
        distribution_check=None,
        bits="w8a7",
        calibration_passes=1,
    )
    batch = x[:ROWS]
    made = oracle_samples(model, batch, samples=SAMPLES, seed=SEED, first_row=FIRST_ROW)
    arrays: dict[str, Any] = dict(zip(model.head.sample_names(len(made)), made, strict=True))
    arrays |= {"input": batch, "seed": SEED, "first_row": FIRST_ROW}
    np.savez(folder / f"{case.name}.npz", **arrays)


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore", CalibrationWarning)
    for case in cases():
        if case.name in NAMES:
            make(case, folder)


if __name__ == "__main__":
    main()
