"""A trained network compiled, and how far its uncertainty is from the float network's."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

import qbnnc
from qbnnc.evaluation.predictors import FloatPredictor
from qbnnc.ir.model import Model
from qbnnc.loading.artefacts import Predictor, open_artefact
from qbnnc.loading.sources import SourceOptions, Trained, read_trained
from qbnnc.runtime import load
from qbnnc.verification.oracle import Comparison, Drawing, verify
from tools.zoo.data_sets import Data
from tools.zoo.losses import Classes, Float64, Loss, Moments
from tools.zoo.network import Network

SAMPLES = 20  # of each prediction that is measured, or so many of all members
_ROWS = 512  # of the training data, for calibration
_TINY = 1e-12


@dataclass(frozen=True, slots=True)
class Compiled:
    """The artefacts of a network, and its float graph."""

    network: Network
    model: Model
    reference: FloatPredictor
    qbnn: Path
    onnx: Path


@dataclass(frozen=True, slots=True)
class Fidelity:
    """A compiled network beside the float one, on the test rows.

    `error` and `reference` are shares of wrong classes, or root mean squares of what means miss
    targets by. `kl` is KL(float || compiled) of the predictive distributions in nats, a mean over
    the rows, and NaN of a regression. `std` is the ratio of the mean predicted deviations, and NaN
    of a classification. `spread` is the ratio of the mean deviations over samples, and NaN where
    nothing is random.
    """

    error: float
    reference: float
    kl: float
    std: float
    spread: float


def read(network: Network, members: list[nn.Module]) -> Trained:
    """The float graphs of trained members, with rows of the training data for calibration."""
    x = network.data().x_train
    source: object = members[0] if len(members) == 1 else members
    return read_trained(source, x[:: max(1, len(x) // _ROWS)][:_ROWS], SourceOptions())


def compiled(
    network: Network, trained: Trained, folder: Path, bits: str = "w8a7", *, c: bool = False
) -> Compiled:
    """Compile to network.qbnn and network.onnx of `folder`, and to network.c if `c`.

    The float graph is compared with the module first, as `qbnnc compile` does.
    """
    paths = [folder / f"network{end}" for end in [".qbnn", ".onnx"] + [".c"] * c]
    model, members = trained.model, len(trained.model.members)
    draws = max(1, SAMPLES // members) if model.stochastic else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a spread that is far off is measured here
        made = qbnnc.compile(trained, paths, bits=bits, task=network.loss.task, samples=draws)
    return Compiled(network, made, FloatPredictor.of(model), paths[0], paths[1])


def differences(made: Compiled, rows: int = 16, samples: int | None = None) -> list[Comparison]:
    """The runtime and onnxruntime held against the oracle, bit by bit, on some test rows."""
    x = made.network.data().x_test[:rows]
    artefacts = {path.name: open_artefact(path, 1) for path in (made.qbnn, made.onnx)}
    return verify(made.model, artefacts, x, Drawing(seeds=(3,), samples=samples, first_row=5))


def fidelity(made: Compiled) -> Fidelity:
    """The compiled network beside the float one, with the same random numbers."""
    network, data = made.network, made.network.data()
    count = made.model.samples
    ours = _says(load(made.qbnn), network.loss, data, count)
    theirs = _says(made.reference, network.loss, data, count)
    truth, spread = data.y_test, _ratio(ours.spread, theirs.spread)
    if isinstance(ours, Classes) and isinstance(theirs, Classes):
        kl = theirs.p * (np.log(theirs.p + _TINY) - np.log(ours.p + _TINY))
        error, reference = (_wrong(each, truth) for each in (ours, theirs))
        return Fidelity(error, reference, float(kl.sum(axis=1).mean()), np.nan, spread)
    assert isinstance(ours, Moments)
    assert isinstance(theirs, Moments)
    error, reference = (_rms(each.mean - truth) for each in (ours, theirs))
    return Fidelity(error, reference, np.nan, _ratio(ours.std, theirs.std), spread)


def _ratio(ours: Float64, theirs: Float64) -> float:
    return float(ours.mean() / theirs.mean()) if theirs.mean() > _TINY else np.nan


def _wrong(says: Classes, truth: NDArray[np.generic]) -> float:
    return float((says.p.argmax(axis=1) != truth).mean())


def _rms(values: Float64) -> float:
    return float(np.sqrt((values**2).mean()))


def _says(predictor: Predictor, loss: Loss, data: Data, count: int) -> Classes | Moments:
    """What the samples of all test rows say."""
    made = predictor.predict(data.x_test, count, 0)
    samples = (array for name, array in made.items() if name.startswith("samples"))
    return loss.says(tuple(np.asarray(array, np.float64) for array in samples))
