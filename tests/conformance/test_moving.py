"""Broadcasts, moves, reductions, contractions and pools as users write them: three backends agree.

Each stands between a convolution with dropout and a linear layer, or makes the output itself. The
samples are also near those of the float network, fed the same masks.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qbnnc.frontend import read_module
from qbnnc.ir.evaluate import evaluate
from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from qbnnc.ir.oracle import oracle_samples
from qbnnc.ir.rng import Draw
from qbnnc.passes.options import Bits, Quantisation
from qbnnc.passes.pipeline import Options, quantise_model
from qbnnc.passes.ranges.calibrate import Calibration, Observer
from tests.conformance.test_conformance import Case
from tests.frontend.convert.test_element_moves import ALL
from tests.frontend.nets import SampledLinear, Spelled
from tests.frontend.outputs import images

SAMPLES, SEED = 3, 11
# Products with constants, and -x of what is no image, wait for scales that stand alone.
SCALED = {"max of two", "product of constants", "product turned", "var of the stacked"}
QUICK = {"row plus column", "index of pairs", "var", "maximum", "grouped", "adaptive"}


class Between(nn.Module):
    """A layer between a convolution with dropout and a linear layer, or at the end."""

    def __init__(self, layer: nn.Module, *, at_the_end: bool) -> None:
        super().__init__()
        self.first, self.layer = nn.Conv2d(2, 4, 1), layer
        features = self.features(torch.zeros(2, 2, 5, 3)).shape[1]
        self.last = nn.Identity() if at_the_end else nn.Linear(features, 3)

    def features(self, x: Tensor) -> Tensor:
        return torch.flatten(self.layer(F.dropout(F.relu(self.first(x)), 0.25, True)), 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(self.features(x))
        return y


@pytest.mark.sample(52)
@pytest.mark.few(2)
@pytest.mark.parametrize("at_the_end", [False, True])
@pytest.mark.parametrize(
    "case",
    [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in ALL if n not in SCALED],
)
def test_backends_agree(case: str, at_the_end: bool) -> None:
    torch.manual_seed(3)
    layer = ALL[case]
    layer = layer if isinstance(layer, nn.Module) else Spelled(layer)
    graph = read_module(Between(layer, at_the_end=at_the_end).eval(), images(2, 2, 5, 3))
    rows = images(64, 2, 5, 3).numpy()
    unclipped = Calibration(Observer.MINMAX, passes=2)  # a norm squares what is clipped
    options = Options(Quantisation(Bits(8, 8)), SAMPLES, calibration=unclipped)
    model = quantise_model(Model((graph,), Head(Task.RAW)), rows, options)
    x = rows[:5]
    Case.of(model).check(x, seed=SEED)
    (codes,) = oracle_samples(model, x, samples=SAMPLES, seed=SEED)
    (real,) = evaluate(graph, x, Draw.of(SEED, range(SAMPLES), range(len(x))))
    assert np.abs(codes - real).max() <= 0.3 * real.std()


def test_a_layer_at_each_position_leaves_as_its_accumulators() -> None:
    """The layer's own numbers are moved, and not codes of 7 bits: there are more of them."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 5))
    graph = read_module(net, images(2, 9, 6))
    rows = images(64, 9, 6).numpy()
    model = quantise_model(
        Model((graph,), Head(Task.RAW)), rows, Options(calibration=Calibration())
    )
    Case.of(model).check(rows[:5])
    (made,) = oracle_samples(model, rows, samples=1)
    assert made.shape == (1, 64, 9, 5)
    assert all(len(np.unique(made[..., channel])) > 300 for channel in range(5))


class ReadTwice(nn.Module):
    """A layer at each position that makes an output, and that another layer reads."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.first(x)
        return h, self.second(torch.relu(h))


def test_a_layer_that_another_reads_leaves_as_its_accumulators() -> None:
    torch.manual_seed(0)
    graph = read_module(ReadTwice(), images(2, 9, 6))
    rows = images(64, 9, 6).numpy()
    model = quantise_model(Model((graph,), Head(Task.RAW)), rows, Options())
    Case.of(model).check(rows[:5])
    made, _ = oracle_samples(model, rows, samples=1)
    assert all(len(np.unique(made[..., channel])) > 300 for channel in range(5))


class SampledSequence(nn.Module):
    """Weights drawn once for all positions, and others for each channel."""

    def __init__(self) -> None:
        super().__init__()
        self.first = SampledLinear(6, 4)
        self.mu = nn.Parameter(torch.randn(4, 3, 2))

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.first(x))
        weight = self.mu + 0.1 * torch.randn_like(self.mu)
        return torch.einsum("btc,cko->btok", h, weight)


def test_sampled_weights_are_shared_by_positions() -> None:
    """Positions that hold the same give the same, in every sample another."""
    torch.manual_seed(0)
    graph = read_module(SampledSequence(), images(2, 5, 6))
    rows = images(64, 1, 6).expand(-1, 5, -1).contiguous().numpy()
    options = Options(samples=4, calibration=Calibration(passes=2))
    model = quantise_model(Model((graph,), Head(Task.RAW)), rows, options)
    Case.of(model).check(rows[:5], seed=SEED, first_row=2)
    (made,) = oracle_samples(model, rows[:5], samples=4, seed=SEED)
    assert made.shape == (4, 5, 5, 2, 3)
    assert (made == made[:, :, :1]).all()
    assert (made[0] != made[1]).any()
