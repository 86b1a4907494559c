"""Bits that `qbnnc inspect` tells of a network."""

from __future__ import annotations

import numpy as np
import pytest

from qbnnc.inspection.report import inspect
from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from qbnnc.passes.options import Bits, Quantisation, WeightScheme
from qbnnc.passes.pipeline import Options, quantise_model
from tests.net import Net

ROWS = np.random.default_rng(0).normal(size=(64, 9)).astype(np.float32)


@pytest.mark.few(5)
@pytest.mark.parametrize("weights", [None, *WeightScheme])
@pytest.mark.parametrize("bits", [2, 3, 4, 6, 8])
def test_weights_have_the_bits_that_were_asked_for(bits: int, weights: WeightScheme | None) -> None:
    """Channels of either sign have zero points far apart, which are folded into their codes."""
    net = Net((9,), 3)
    graph = net.linear(24, "fc").relu("relu").linear(2, "out").graph()
    options = Options(Quantisation(Bits(bits, 7), weights))
    model = quantise_model(Model((graph,), Head(Task.RAW)), ROWS, options)
    found = {n.node: n.weight_bits for n in inspect(model, 0).nodes if n.weight_bits is not None}
    assert set(found.values()) == {bits}
    assert len(found) == 2
