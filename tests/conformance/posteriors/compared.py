"""A compiled posterior beside the user's module: equal bits in all engines, one distribution."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import qbnnc
from qbnnc.backends.onnx.session import OnnxArtefact
from qbnnc.ir.model import Model
from qbnnc.ir.oracle import oracle_samples
from qbnnc.runtime import Session, load
from qbnnc.verification.oracle import bits

Float64 = NDArray[np.float64]

SAMPLES, NIGHTLY_SAMPLES = 4000, 30_000
_IN_FILE, _ROWS = 12, 4


@dataclass(frozen=True, slots=True)
class Compiled:
    """A module, its artefacts, and rows to predict."""

    module: nn.Module
    session: Session
    onnx: OnnxArtefact
    x: NDArray[np.float32]

    @property
    def model(self) -> Model:
        return self.session.model


def compiled(module: nn.Module, folder: Path, widths: str = "w8a8") -> Compiled:
    """Compile a module of 8 features, or of what its `example` [B, ...] holds."""
    random = torch.Generator().manual_seed(0)
    shape: tuple[int, ...] = getattr(module, "example", (8,))
    rows = torch.randn(300, *shape, generator=random)
    paths = folder / "net.qbnn", folder / "net.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what 8 bits do to the spread is measured here
        qbnnc.compile(module.eval(), paths, calibration=rows.numpy(), bits=widths, samples=_IN_FILE)
    onnx = OnnxArtefact.from_bytes(paths[1].read_bytes())
    return Compiled(module, load(paths[0]), onnx, rows[:_ROWS].numpy())


def check_bits(made: Compiled) -> None:
    """Expect the oracle's samples of the runtime and of onnxruntime, from any first row."""
    for first_row in (0, 5):
        expected = oracle_samples(made.model, made.x, samples=_IN_FILE, seed=3, first_row=first_row)
        (key,) = made.model.head.sample_names(len(expected))
        for backend in (made.session, made.onnx):
            samples = backend.predict(made.x, seed=3, first_row=first_row)[key]
            assert (bits(samples) == bits(expected[0])).all(), backend


def check_distribution(made: Compiled, samples: int = SAMPLES) -> None:
    """Expect the module's means, deviations, and correlations of outputs and rows.

    Deviations and means are taken over all outputs together: what rounds one of them is no fault of
    its distribution.
    """
    (key,) = made.model.head.sample_names(1)
    found = np.asarray(made.session.predict(made.x, samples=samples, seed=1)[key], np.float64)
    wanted = drawn_by(made.module, made.x, samples)
    variance = wanted.var(axis=0)
    ratio = float(np.sqrt(found.var(axis=0).mean() / variance.mean()))
    shift = float(
        np.sqrt(((found.mean(axis=0) - wanted.mean(axis=0)) ** 2).mean() / variance.mean())
    )
    apart = np.abs(correlations(found) - correlations(wanted))
    assert 0.97 < ratio < 1.03, ratio
    assert float(np.sqrt(found.var(axis=0) / variance).min()) > 0.8
    assert shift < 0.1, shift
    assert float(apart.mean()) < 0.05, apart


def drawn_by(module: nn.Module, x: NDArray[np.float32], samples: int) -> Float64:
    """Samples [L, B, *shape] of the user's module, from torch's own random numbers."""
    torch.manual_seed(11)
    with torch.no_grad():
        rows = torch.from_numpy(x)
        return torch.stack([module(rows) for _ in range(samples)]).double().numpy()


def correlations(samples: Float64) -> Float64:
    """The correlations of all outputs of all rows."""
    matrix: Float64 = np.corrcoef(samples.reshape(len(samples), -1).T)
    return matrix
