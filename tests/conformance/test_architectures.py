"""Well-known networks and library layers, from torch to bits: oracle == onnxruntime == runtime."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from qbnnc.backends.onnx import emit
from qbnnc.backends.onnx.session import OnnxArtefact
from qbnnc.frontend import Dropout, read_module
from qbnnc.ir.graph import Graph
from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from qbnnc.ir.oracle import oracle_samples
from qbnnc.passes.options import Bits, Quantisation
from qbnnc.passes.pipeline import Options, quantise_model
from qbnnc.passes.ranges.calibrate import Calibration
from qbnnc.runtime import load
from qbnnc.verification.oracle import bits
from tests.examples import slow_but
from tests.float_layers import float_compute_nodes
from tests.frontend.architectures import ARCHITECTURES
from tests.frontend.bayesian import SPELLINGS, Sampled
from tests.frontend.nets import randomise_batch_norm
from tests.graphs import inputs, run


def check_bits(graph: Graph, width: str, task: Task = Task.RAW) -> None:
    """The compiled network gives the oracle's bits in both backends, and is not far from float."""
    options = Options(Quantisation(Bits.parse(width)), calibration=Calibration(passes=2))
    rows = inputs(graph, 24, seed=2)
    model = quantise_model(Model((graph,), Head(task)), rows, options)
    x, count = rows[:5], min(3, model.samples)
    emitted = emit(model, samples=count)
    expected = oracle_samples(model, x, samples=count, seed=6, first_row=1)
    names = model.head.sample_names(len(expected))
    for backend in (OnnxArtefact.from_bytes(emitted), load(model)):
        made = backend.predict(x, samples=count, seed=6, first_row=1)
        for name, truth in zip(names, expected, strict=True):
            assert (bits(made[name]) == bits(truth)).all()
    assert float_compute_nodes(emitted) == []
    for real, found in zip(run(graph, x, count, 6), expected, strict=True):
        assert np.abs(real - found).mean() < 0.3 * max(1e-3, float(np.abs(real).max()))


@pytest.mark.sample(4)
@pytest.mark.parametrize("name", slow_but(["SqueezeNet"], ARCHITECTURES))
def test_architectures(name: str) -> None:
    torch.manual_seed(4)
    net = ARCHITECTURES[name]()
    randomise_batch_norm(net)
    net.eval()
    dropout: Dropout | None = "off" if "Drop" in str(net) else None
    check_bits(read_module(net, torch.randn(2, 3, 16, 16), dropout=dropout), "w8a8")


@pytest.mark.sample(8)
@pytest.mark.parametrize("spelling", slow_but(["shared"], SPELLINGS))
def test_spellings_of_sampled_weights(spelling: str) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), Sampled(SPELLINGS[spelling])).eval()
    check_bits(read_module(net, torch.randn(2, 6)), "w8a7")
