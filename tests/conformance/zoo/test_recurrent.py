"""Recurrent classifiers with dropout, from torch to bits: oracle == onnxruntime == runtime."""

from __future__ import annotations

import numpy as np
import pytest
import torch
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
from tests.graphs import run

STEPS, FEATURES, UNITS, CLASSES = 5, 3, 8, 3
MOST_APART = 0.15  # of the logits, root mean square, at w8a7


class Classifier(nn.Module):
    """A recurrent layer, dropout and a linear layer over the last step."""

    def __init__(self, kind: type[nn.LSTM | nn.GRU]) -> None:
        super().__init__()
        self.layer = kind(FEATURES, UNITS, batch_first=True)
        self.drop, self.last = nn.Dropout(0.2), nn.Linear(UNITS, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(self.drop(self.layer(x)[0][:, -1]))
        return y


def trained(kind: type[nn.LSTM | nn.GRU]) -> Classifier:
    """Trained to tell whether the sum of a feature is low, middle or high."""
    torch.manual_seed(4)
    net = Classifier(kind)
    optimiser = torch.optim.Adam(net.parameters(), 0.02)
    for _ in range(60):
        x = torch.randn(64, STEPS, FEATURES)
        classes = torch.bucketize(x[..., 0].sum(1), torch.tensor([-1.0, 1.0]))
        loss = nn.functional.cross_entropy(net(x), classes)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return net.eval()


@pytest.mark.few(1)
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU], ids=lambda kind: kind.__name__)
def test_the_same_bits_near_the_float_network(kind: type[nn.LSTM | nn.GRU]) -> None:
    graph = read_module(trained(kind), torch.zeros(2, STEPS, FEATURES), dropout="active")
    rows = torch.randn(256, STEPS, FEATURES, generator=torch.Generator().manual_seed(7)).numpy()
    options = Options(Quantisation(Bits.parse("w8a7")))
    model = quantise_model(Model((graph,), Head(Task.RAW)), rows, options)
    x, count = rows[:7], 3
    expected = oracle_samples(model, x, samples=count, seed=6, first_row=1)
    (name,) = model.head.sample_names(len(expected))
    for backend in (OnnxArtefact.from_bytes(emit(model, samples=count)), load(model)):
        made = backend.predict(x, samples=count, seed=6, first_row=1)
        assert (bits(made[name]) == bits(expected[0])).all()
    exact = run(graph, rows, count, 6)[0]
    found = oracle_samples(model, rows, samples=count, seed=6)[0]
    apart = np.sqrt(np.mean((exact - found) ** 2) / np.mean(exact**2))
    assert apart < MOST_APART, apart
