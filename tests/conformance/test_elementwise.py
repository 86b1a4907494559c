"""Scale, shift, batch norm and functions anywhere: the float graph is the module, the integers
are near it, and oracle == onnxruntime == runtime."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qbnnc.backends.onnx import emit
from qbnnc.backends.onnx.session import OnnxArtefact
from qbnnc.frontend import read_module
from qbnnc.ir.graph import Graph
from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from qbnnc.ir.oracle import oracle_samples
from qbnnc.passes.options import Bits, Quantisation, Scales, WeightScheme
from qbnnc.passes.pipeline import Options, comparable, quantise_model
from qbnnc.passes.ranges.calibrate import Calibration
from qbnnc.runtime import load
from qbnnc.verification.oracle import bits
from tests.float_layers import float_compute_nodes
from tests.frontend.nets import randomise_batch_norm

SHAPES = {"features": (6,), "sequence": (4, 6), "image": (4, 5, 6)}
SCHEMES = {
    "w8a7": Quantisation(Bits(8, 7)),
    "w4a4": Quantisation(Bits(4, 4)),
    "tensor": Quantisation(Bits(8, 7), weights=WeightScheme.TENSOR_AFFINE),
    "pow2": Quantisation(Bits(8, 7), scales=Scales.POW2),
}
MARKS = (pytest.mark.slow, pytest.mark.nightly, pytest.mark.nightly)
NOISE = {"w8a7": 0.025, "w4a4": 0.06, "tensor": 0.025, "pow2": 0.03}  # of the largest output


def _layer(shape: tuple[int, ...], bias: bool = True) -> nn.Module:
    n = shape[0]
    kinds = {1: nn.Linear(n, n, bias), 2: nn.Conv1d(n, n, 3, padding=1), 3: nn.Conv2d(n, n, 1)}
    return kinds[len(shape)]


def _norm(shape: tuple[int, ...]) -> nn.Module:
    norms = {1: nn.BatchNorm1d, 2: nn.BatchNorm1d, 3: nn.BatchNorm2d}
    return norms[len(shape)](shape[0])


class Block(nn.Module):
    """x, or a layer of it, through a function with a batch norm and a second layer at hand."""

    def __init__(self, shape: tuple[int, ...], block: Callable[[Block, Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.second = _layer(shape), _layer(shape)
        self.norm, self.block, self.shape = _norm(shape), block, shape
        self.gamma = nn.Parameter(
            torch.linspace(-1.0, 1.5, shape[0]).reshape(-1, *[1] * (len(shape) - 1))
        )
        self.last = nn.Linear(int(np.prod(shape)), 3)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(self.block(self, x).flatten(1))
        return y


BLOCKS: dict[str, Callable[[Block, Tensor], Tensor]] = {
    "layer norm relu": lambda m, x: F.relu(m.norm(m.first(x))),
    "layer relu norm layer": lambda m, x: m.second(m.norm(F.relu(m.first(x)))),
    "norm of the input": lambda m, x: m.second(F.relu(m.norm(x))),
    "norm of a sum": lambda m, x: F.relu(m.norm(m.first(x) + m.second(x))),
    "norm and a second use": lambda m, x: (h := m.first(x)) + F.relu(m.norm(h)),
    "layer scale": lambda m, x: x + m.gamma * F.gelu(m.first(x)),
    "negative scale of a relu": lambda m, x: F.relu(m.first(x)) * -0.7 + 0.3,
    "scale of every element": lambda m, x: F.relu(m.first(x))
    * torch.linspace(-1, 2, int(np.prod(m.shape))).reshape(m.shape) + 0.1,
    "scale of the last axis": lambda m, x: F.relu(m.first(x)) * torch.linspace(-1, 2, m.shape[-1]),
    "zero scale": lambda m, x: m.first(x) + F.relu(m.second(x)) * 0.0,
    "input scaled twice": lambda m, x: m.first(x * 0.5 - 1) + m.second(1 - x),
    "input with a negative scale": lambda m, x: m.second(F.relu(m.first(1 - 2 * x))),
    "input with a value for every element": lambda m, x: m.first(
        x * torch.linspace(-1, 1, int(np.prod(m.shape))).reshape(m.shape)
    ),
    "five times tanh": lambda m, x: m.second(5 * torch.tanh(m.first(x))),
    "less its function": lambda m, x: (h := m.first(x)) - torch.tanh(h),
    "mean of three": lambda m, x: (m.first(x) + m.second(x) + torch.sigmoid(m.first(x))) / 3,
    "bounds of a log variance": lambda m, x: -4
    + F.softplus(0.5 - F.softplus(0.5 - m.first(x)) + 4),
    "mish by hand": lambda m, x: (h := m.first(x)) * torch.tanh(F.softplus(h)),
    "swish with a factor": lambda m, x: (h := m.first(x)) * torch.sigmoid(1.702 * h),
    "hardswish by hand": lambda m, x: (h := m.first(x)) * F.relu6(h + 3) / 6,
    "square": lambda m, x: (h := m.first(x)) * h,
    "times its relu": lambda m, x: (h := m.first(x)) * F.relu(h),
    "inner value read outside": lambda m, x: m.second(t := torch.tanh(m.first(x))) + t * t,
    "exp of a clamp": lambda m, x: torch.exp(m.first(x).clamp(-3, 1) * 0.5),
}  # fmt: skip


# To trace them takes longest: of three kinds of input two are for the night.
QUICK = {("layer relu norm layer", "features"), ("mish by hand", "image")}
NETWORKS = [
    pytest.param(name, kind, marks=[] if (name, kind) in QUICK else [MARKS[(i + j) % 3]])
    for i, name in enumerate(BLOCKS)
    for j, kind in enumerate(SHAPES)
]


@cache
def network(name: str, kind: str) -> tuple[Block, Tensor, Graph]:
    torch.manual_seed(3)
    net = Block(SHAPES[kind], BLOCKS[name])
    randomise_batch_norm(net)
    x = torch.randn(48, *SHAPES[kind])
    return net, x, read_module(net.eval(), x[:2])


def near(made: np.ndarray, wanted: np.ndarray, share: float) -> None:
    assert np.abs(made - wanted).mean() < share * max(1e-3, float(np.abs(wanted).max()))


@pytest.mark.sample(14)
@pytest.mark.few(2)
@pytest.mark.parametrize(("name", "kind"), NETWORKS)
def test_float_graph_after_the_passes_is_the_module(name: str, kind: str) -> None:
    net, x, graph = network(name, kind)
    graph = comparable(graph, shared=False)
    wanted = net(x).detach().numpy()
    made = oracle_samples(Model((graph,), Head(Task.RAW)), x.numpy(), samples=1)[0][0]
    np.testing.assert_allclose(made, wanted, rtol=1e-4, atol=2e-5 * np.abs(wanted).max())


@pytest.mark.few(4)
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(("name", "kind"), NETWORKS)
def test_integers_are_near_the_module(name: str, kind: str, scheme: str) -> None:
    net, x, graph = network(name, kind)
    model = quantised(graph, x, scheme)
    made = oracle_samples(model, x.numpy(), samples=1)[0][0]
    near(made, net(x).detach().numpy(), NOISE[scheme])


@pytest.mark.few(2)
@pytest.mark.parametrize(("name", "kind"), NETWORKS)
def test_bits(name: str, kind: str) -> None:
    _, x, graph = network(name, kind)
    check_bits(quantised(graph, x, "tensor"), x)


def quantised(graph: Graph, x: Tensor, scheme: str) -> Model:
    options = Options(SCHEMES[scheme], calibration=Calibration(passes=2))
    return quantise_model(Model((graph,), Head(Task.RAW)), x.numpy(), options)


def check_bits(model: Model, x: Tensor) -> None:
    rows, count = x[:5].numpy(), min(3, model.samples)
    emitted = emit(model, samples=count)
    expected = oracle_samples(model, rows, samples=count, seed=6, first_row=1)
    names = model.head.sample_names(len(expected))
    assert float_compute_nodes(emitted) == []
    for backend in (OnnxArtefact.from_bytes(emitted), load(model)):
        made = backend.predict(rows, samples=count, seed=6, first_row=1)
        for name, truth in zip(names, expected, strict=True):
            assert (bits(made[name]) == bits(truth)).all()
