"""Options of post-training quantisation compared at few bits: a table in Markdown.

    python -m qbnnc.study.paper.compare_ptq_options NETS DATA
        [--set regression|lenet] [--bits w4a4 ...]

NETS and DATA are as in reference_nets.py. A cell of regression is the ratio of RMSE to the float
network's, as a mean over two data sets. A cell of LeNet is the error on the first 1,000 test images
minus the float network's, in points, and aPE on test / out-of-distribution data. All are means over
seeds of the samples, with L = 20.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from qbnnc.ir.model import Model
from qbnnc.passes.options import Bits, Quantisation, Rounding, WeightScheme
from qbnnc.passes.pipeline import Options, quantise_model
from qbnnc.passes.ranges.calibrate import Calibration, Observer
from qbnnc.runtime import load
from qbnnc.study.paper.reference_nets import (
    Data,
    Floats,
    Samples,
    float_samples,
    measures,
    networks,
    trained,
)

METHODS = ("pointwise", "mcd", "bbb", "sghmc")
WIDTHS = ("w8a7", "w8a5", "w5a7", "w4a7", "w8a4", "w4a4", "w3a3")
IMAGES, OOD_IMAGES = 1000, 500
PLAIN = Quantisation(rounding=Rounding.NEAREST, bias_correction=False)
MSE = Calibration(Observer.MSE)


@dataclass(frozen=True)
class Lever:
    """The options of one row of the table; each column of widths sets the bits."""

    name: str
    quantisation: Quantisation
    calibration: Calibration
    input_bits: int | None = 0  # 0: as many as activations have, as in the paper


LEVERS = (
    Lever("min/max", PLAIN, Calibration(Observer.MINMAX)),
    Lever("moving average", PLAIN, Calibration(Observer.EMA)),
    Lever("mse of activations", PLAIN, Calibration(Observer.MSE, weights=Observer.MINMAX)),
    Lever("mse of both", PLAIN, MSE),
    Lever("mse, affine", replace(PLAIN, weights=WeightScheme.CHANNEL_AFFINE), MSE),
    Lever("mse, bias correction", replace(PLAIN, bias_correction=True), MSE),
    Lever("mse, fitted, biases", Quantisation(rounding=Rounding.FITTED), MSE),
    Lever("by bits", Quantisation(), Calibration()),
    Lever("default (input of 7 bits)", Quantisation(), Calibration(), None),
)


@dataclass(frozen=True)
class Case:
    """A network's data, its FLOAT Model, and the float network's measures, seed by seed."""

    data: Data
    model: Model
    real: list[dict[str, float]]


def prepare(name: str, nets: Path, folder: Path, seeds: int) -> Case:
    """Read a network and measure it in float."""
    network, load_data = networks(folder)[name]
    data = load_data()
    if data.ood is not None:
        cut = data.ood[:OOD_IMAGES]
        data = replace(data, x=data.x[:IMAGES], y=data.y[:IMAGES], ood=cut)
    model = trained(network, nets, data)
    draw = float_samples(model)
    return Case(data, model, measured(draw, data, seeds if model.stochastic else 1))


def measured(draw: Samples, data: Data, seeds: int) -> list[dict[str, float]]:
    """The measures of each seed."""
    return [measures(draw, data, seed) for seed in range(seeds)]


def compiled(case: Case, lever: Lever, bits: str) -> Samples:
    """Samples of the INTEGER model in the runtime."""
    widths = Bits.parse(bits)
    entry = widths.activations if lever.input_bits == 0 else lever.input_bits
    quantisation = replace(lever.quantisation, bits=widths, input_bits=entry)
    options = Options(quantisation, calibration=lever.calibration)
    assert case.model.calibration is not None
    model = quantise_model(case.model, case.model.calibration, options)
    session, names = load(model), model.head.sample_names(len(model.graph.outputs))

    def draw(x: Floats, seed: int) -> tuple[Floats, ...]:
        prediction = session.predict(x, seed=seed)
        return tuple(prediction[name] for name in names)

    return draw


def cell(cases: list[Case], lever: Lever, bits: str) -> str:
    """The cell of a method, from all its cases."""
    ours = [measured(compiled(case, lever, bits), case.data, len(case.real)) for case in cases]
    if "rmse" in cases[0].real[0]:
        pairs = zip(ours, (case.real for case in cases), strict=True)
        return f"{np.mean([mean(a, 'rmse') / mean(b, 'rmse') for a, b in pairs]):.3f}"
    (runs,), (case,) = ours, cases
    change = mean(runs, "error") - mean(case.real, "error")
    return f"{change:+.1f} ({mean(runs, 'ape'):.2f}/{mean(runs, 'ood_ape'):.2f})"


def mean(runs: list[dict[str, float]], key: str) -> float:
    """The mean over seeds."""
    return float(np.mean([run[key] for run in runs]))


def rows(options: argparse.Namespace) -> Iterator[str]:
    """The table, line by line."""
    sets = ("boston", "concrete") if options.set == "regression" else ("lenet",)
    methods = options.methods
    cases = {
        method: [
            prepare(f"{name}_{method}", options.nets, options.data, options.seeds) for name in sets
        ]
        for method in methods
    }
    yield f"| bits | lever | {' | '.join(methods)} |"
    yield "|---" * (2 + len(methods)) + "|"
    for bits in options.bits:
        for lever in (x for x in LEVERS if not options.levers or x.name in options.levers):
            cells = [cell(cases[method], lever, bits) for method in methods]
            yield f"| {bits} | {lever.name} | {' | '.join(cells)} |"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Compare options of quantisation.")
    parser.add_argument("nets", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--set", choices=["regression", "lenet"], default="regression")
    parser.add_argument("--methods", nargs="*", default=METHODS)
    parser.add_argument("--levers", nargs="*", metavar="NAME")
    parser.add_argument("--bits", nargs="*", default=WIDTHS)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    sys.path.insert(0, str(options.nets))
    torch.set_num_threads(1)
    for line in rows(options):
        print(line, flush=True)


if __name__ == "__main__":
    main()
