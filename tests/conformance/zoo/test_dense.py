"""Dense prediction and normalisation by row, to bits: oracle == onnxruntime == runtime."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qbnnc.backends.onnx import emit
from qbnnc.backends.onnx.session import OnnxArtefact
from qbnnc.frontend import read_module
from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from qbnnc.ir.oracle import oracle_samples
from qbnnc.passes.options import Bits, Quantisation
from qbnnc.passes.pipeline import Options, quantise_model
from qbnnc.runtime import load
from qbnnc.verification.oracle import bits
from tests.graphs import inputs, run


class SmallUNet(nn.Module):
    """A U-Net of two levels with dropout of channels; `aligned` says how it is upsampled."""

    def __init__(self, *, aligned: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.enter, self.down = nn.Conv2d(2, 6, 3, padding=1), nn.Conv2d(6, 8, 3, padding=1)
        self.leave, self.last = nn.Conv2d(14, 6, 3, padding=1), nn.Conv2d(6, 1, 1)
        self.aligned = aligned

    def forward(self, x: Tensor) -> Tensor:
        whole = F.relu(self.enter(x))
        half = F.dropout2d(F.relu(self.down(F.max_pool2d(whole, 2))), 0.2)
        up = F.interpolate(half, scale_factor=2, mode="bilinear", align_corners=self.aligned)
        y: Tensor = self.last(F.relu(self.leave(torch.cat([up, whole], 1))))
        return y


class Normed(nn.Module):
    """A convolution with group norm, and linear layers with layer and RMS norm, and dropout."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.image = nn.Sequential(
            nn.Conv2d(2, 8, 3, padding=1), nn.GroupNorm(2, 8), nn.ReLU(), nn.AvgPool2d(4)
        )
        self.row = nn.Sequential(nn.Linear(32, 24), nn.LayerNorm(24), nn.ReLU())
        self.last = nn.Sequential(nn.Linear(24, 16), nn.RMSNorm(16), nn.Linear(16, 2))

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.row(self.image(x).flatten(1))
        y: Tensor = self.last(F.dropout(hidden, 0.1))
        return y


def error_of(net: nn.Module, width: str) -> float:
    """Check that three sides agree in bits; the error against float, in deviations of outputs."""
    graph = read_module(net.eval(), torch.randn(2, 2, 8, 8))
    options = Options(Quantisation(Bits.parse(width)))
    rows = inputs(graph, 128, seed=2)
    model = quantise_model(Model((graph,), Head(Task.RAW)), rows, options)
    x = rows[:16]
    (expected,) = oracle_samples(model, x, samples=3, seed=6)
    artefact = OnnxArtefact.from_bytes(emit(model, samples=3))
    for backend in (artefact, load(model)):
        made = backend.predict(x, samples=3, seed=6)
        assert (bits(made[model.head.sample_names(1)[0]]) == bits(expected)).all()
    (real,) = run(graph, x, 3, 6)
    return float(np.sqrt(((real - expected) ** 2).mean()) / real.std())


def test_bilinear_unet() -> None:
    assert error_of(SmallUNet(aligned=False), "w8a7") < 0.06


def test_unet_with_aligned_corners() -> None:
    assert error_of(SmallUNet(aligned=True), "w8a8") < 0.06


def test_norms_by_row() -> None:
    assert error_of(Normed(), "w8a8") < 0.1
