"""The standard networks at the INTEGER level, for tests on devices and for their table."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from qbnnc.ir.head import Task
from qbnnc.ir.model import Model
from qbnnc.loading.sources import SourceOptions, read
from qbnnc.passes.options import Bits, Quantisation, Rounding
from qbnnc.passes.pipeline import Options, quantise_model
from qbnnc.passes.ranges.calibrate import Calibration
from tools.bench.networks import MLP, lenet_mcd
from tools.models import LeNet_MCD, ResNet18

DEMO = Path(__file__).resolve().parents[1] / "demo"
STANDARD = {
    "lenet": "LeNet of the demo, MCD",
    "lenet5": "LeNet-5 20-50-500, MCD",
    "mlp_mcd": "MLP 13-100-100-100, MCD",
    "mlp_bbb": "MLP 13-100-100-100, BBB",
    "resnet18": "ResNet-18 of width 8, MCD",
}


@cache
def standard(name: str, bits: str) -> Model:
    """Compile a network of STANDARD: the demo's trained one, or one of random weights.

    Random weights are calibrated on noise. Weights are rounded to the nearest code, and two samples
    calibrate: neither changes what a prediction costs.
    """
    torch.manual_seed(0)
    network, rows = _networks(name)
    options = Options(
        Quantisation(Bits.parse(bits), rounding=Rounding.NEAREST, bias_correction=False),
        samples=20,
        task=Task.REGRESSION if name.startswith("mlp") else Task.CLASSIFICATION,
        calibration=Calibration(passes=2),
    )
    return quantise_model(read(network.eval(), rows, SourceOptions()), rows, options)


def _networks(name: str) -> tuple[nn.Module, NDArray[np.float32]]:
    """A network, and rows to calibrate it with."""
    noise = np.random.default_rng(0)
    match name:
        case "lenet":
            network = LeNet_MCD()
            network.load_state_dict(torch.load(DEMO / "lenet_mcd.pt", weights_only=True))
            with np.load(DEMO / "fashion.npz") as garments:
                return network, garments["calib"].astype(np.float32)
        case "lenet5":
            return lenet_mcd(), noise.random((64, 1, 28, 28), np.float32)
        case "resnet18":
            return ResNet18("mcd", 8), noise.standard_normal((32, 3, 32, 32), np.float32)
        case _:
            return MLP(name.removeprefix("mlp_")), noise.standard_normal((128, 13), np.float32)
