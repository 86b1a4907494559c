"""Stacks of layers with norms, before or after each: engines agree, and float is near."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from qbnnc.frontend import read_module
from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from qbnnc.ir.ops import NormalizeInteger
from qbnnc.ir.oracle import oracle_samples
from qbnnc.passes.options import Bits, Quantisation
from qbnnc.passes.pipeline import Options, quantise_model
from qbnnc.runtime import load
from tests.backends.equality import artefact

_TOKENS, _WIDTH = 8, 32


class Block(nn.Module):
    """Two residual branches, of tokens and of features, as in an MLP-Mixer."""

    def __init__(self, *, before: bool, norm: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.before, self.first, self.second = before, norm(_WIDTH), norm(_WIDTH)
        self.mix = nn.Linear(_TOKENS, _TOKENS)
        self.features = nn.Sequential(
            nn.Linear(_WIDTH, 2 * _WIDTH), nn.GELU(), nn.Linear(2 * _WIDTH, _WIDTH)
        )

    def mixed(self, x: Tensor) -> Tensor:
        y: Tensor = self.mix(x.transpose(1, 2))
        return y.transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        if self.before:
            x = x + self.mixed(self.first(x))
            made: Tensor = x + self.features(self.second(x))
            return made
        x = self.first(x + self.mixed(x))
        y: Tensor = self.second(x + self.features(x))
        return y


def stack(*, before: bool, norm: Callable[[int], nn.Module]) -> nn.Module:
    """Four blocks with random weights, between two linear layers."""
    torch.manual_seed(0)
    blocks = [Block(before=before, norm=norm) for _ in range(4)]
    last = [norm(_WIDTH)] if before else []
    network = nn.Sequential(
        nn.Linear(10, _WIDTH), *blocks, *last, nn.Flatten(), nn.Linear(_TOKENS * _WIDTH, 4)
    )
    return network.eval()


@pytest.mark.nightly
@pytest.mark.parametrize("bits", ["w8a7", "w8a8"])
@pytest.mark.parametrize("norm", [nn.LayerNorm, nn.RMSNorm])
@pytest.mark.parametrize("before", [True, False])
def test_stacks(before: bool, norm: Callable[[int], nn.Module], bits: str) -> None:
    """At w8a8 the weights, the input and a code a layer alone give about .05 here."""
    network = stack(before=before, norm=norm)
    rng = np.random.default_rng(0)
    rows, x = rng.normal(size=(2, 256, _TOKENS, 10)).astype(np.float32)
    graph = read_module(network, torch.from_numpy(rows), dropout="off")
    options = Options(Quantisation(Bits.parse(bits)))
    model = quantise_model(Model((graph,), Head(Task.RAW)), rows, options)
    assert sum(isinstance(n.op, NormalizeInteger) for n in model.graph.nodes) == 8 + before
    (wanted,) = oracle_samples(model, x[:9], samples=1)
    assert np.array_equal(load(model).predict(x[:9], 1)["samples"], wanted)
    assert np.array_equal(artefact(model, 1).predict(x[:9])["samples"], wanted)
    (made,) = oracle_samples(model, x, samples=1)
    with torch.no_grad():
        exact = network(torch.from_numpy(x)).numpy()
    error = np.sqrt(np.square(made[0] - exact).mean() / exact.var(axis=0).mean())
    assert error < (0.09 if bits == "w8a8" else 0.13)
