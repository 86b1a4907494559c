"""Softmax inside networks: the engines give the oracle's bits, near the module's values."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qbnnc.backends.torch.simulation import Simulation
from qbnnc.ir.graph import Graph, Value
from qbnnc.ir.model import Model
from qbnnc.ir.ops import (
    Gather,
    MatMul,
    MatMulInteger,
    Multiply,
    ScaledSoftmax,
    Slice,
    Softmax,
    SoftmaxInteger,
)
from qbnnc.passes.options import Bits, Quantisation
from qbnnc.passes.pipeline import Options
from qbnnc.support.errors import Loc, UserError
from tests.backends.simulations import simulated
from tests.backends.test_c import CHECKED, CHECKERS, needs_compiler, ran
from tests.conformance.test_conformance import QUICK, Case
from tests.conformance.test_conformance import compiled as quantised
from tests.conformance.test_spellings import X, assert_near, compiled
from tests.examples import slow_but
from tests.graphs import inputs
from tests.net import Net

Function = Callable[[Tensor], Tensor]
LEAST = float(np.finfo(np.float32).min)
SHAPES = [(6,), (4, 5), (3, 4, 5), (1, 4, 5), (3, 1, 5), (2, 3, 4, 5), (3, 4, 1)]


def graph(shape: tuple[int, ...], *, product: bool, masks: bool, biased: bool) -> Graph:
    """A softmax of codes, or of a product's accumulators, and a layer."""
    net, rank = Net(shape), len(shape)
    if product:
        first, order = net.value, tuple(range(shape[-1]))[::-1]
        turned = net.emit(Gather(rank - 1, order), name="turned").value
        net.value = net.build.emit(Multiply(), turned, first, loc=Loc("product"), name="product")
    shift = np.zeros((1,) * max(0, rank - 2) + shape[-2:], np.float32)
    if biased:
        shift += net.rng.normal(size=shift.shape).astype(np.float32)
    if masks:
        shift[..., 1:][net.rng.random(shift[..., 1:].shape) < 0.4] = LEAST
    net.affine(np.full((1,) * rank, 2.5, np.float32), shift, "scores")
    net.emit(Softmax(rank - 1, False), name="softmax").flatten("flat")
    return net.linear(3, "out").graph()


def model_of(shape: tuple[int, ...], *, product: bool, masks: bool, biased: bool) -> Model:
    made = graph(shape, product=product, masks=masks, biased=biased)
    model = quantised(made, Options(Quantisation(Bits(8, 7)), calibration=QUICK))
    (node,) = (n for n in model.graph.nodes if isinstance(n.op, SoftmaxInteger))
    assert (node.inputs[0].type.dtype.value == "i32") is product
    assert len(node.inputs) <= 2 + masks + biased
    return model


@pytest.mark.few(4)
@pytest.mark.sample(14)
@pytest.mark.parametrize("masks", [True, False])
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("product", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_engines(shape: tuple[int, ...], product: bool, masks: bool, biased: bool) -> None:
    model = model_of(shape, product=product, masks=masks, biased=biased)
    Case.of(model).check(inputs(model.graph, 5, seed=3))


def attention(heads: int, length: int, features: int) -> Graph:
    """Causal attention of parts of the input, with dropped probabilities."""
    net, loc = Net((heads, length, 3 * features)), Loc("attention")
    x, part = net.value, list[Value]()
    for number in range(3):
        op = Slice(2, number * features, (number + 1) * features, 1)
        part.append(net.build.emit(op, x, loc=loc, name=f"part{number}"))
    net.value = net.build.emit(MatMul(True), *part[:2], loc=loc, name="scores")
    future = np.triu(np.full((1, length, length), LEAST, np.float32), 1)
    net.affine(np.full((1, 1, 1), features**-0.5, np.float32), future, "masked")
    net.emit(Softmax(2, False), name="softmax").dropout(0.2, "dropout")
    return net.emit(MatMul(), part[2], name="context").graph()


def test_attention_rounds_nothing_between_its_product_and_the_softmax() -> None:
    made = attention(2, 5, 4)
    model = quantised(made, Options(Quantisation(Bits(8, 7)), 3, calibration=QUICK))
    (node,) = (n for n in model.graph.nodes if isinstance(n.op, SoftmaxInteger))
    maker = model.graph.producers()[node.inputs[0]]
    assert isinstance(maker.op, MatMulInteger)
    assert node.output.type.quant is not None
    assert node.output.type.quant.high == 255  # 8 bits beside activations of 7
    Case.of(model).check(inputs(model.graph, 3, seed=3), seed=4)


@needs_compiler
@pytest.mark.few(2)
@pytest.mark.sample(4)
@pytest.mark.parametrize("product", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_c(shape: tuple[int, ...], product: bool, tmp_path: Path) -> None:
    for number, (masks, biased) in enumerate([(True, True), (False, False)]):
        model = model_of(shape, product=product, masks=masks, biased=biased)
        (tmp_path / f"{number}").mkdir()
        ran(tmp_path / f"{number}", model, CHECKED, CHECKERS[0])


def test_the_simulation_is_trained_through() -> None:
    made = simulated(graph((3, 4, 5), product=True, masks=True, biased=True))
    assert [n.op.name for n in made.graph.nodes].count("scaled_softmax") == 1
    (node,) = (n for n in made.graph.nodes if isinstance(n.op, ScaledSoftmax))
    assert node.inputs[0].type.quant is None  # not rounded before
    module = Simulation(made)
    module(torch.from_numpy(inputs(made.graph, 4))).square().sum().backward()
    for parameter in module.parameters():
        if parameter.requires_grad and parameter.grad is not None:
            assert bool(parameter.grad.isfinite().all())


class Between(nn.Module):
    """A layer, what is tried, and a layer."""

    def __init__(self, tried: Function) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.tried, self.out = nn.Linear(8, 24), tried, nn.LazyLinear(3)
        self(X[:2])

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.out(self.tried(self.first(x)).flatten(1))
        return y


class Experts(nn.Module):
    """A mixture of experts, whose gates are a softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.gates, self.experts = nn.Linear(24, 4), nn.Linear(24, 24)

    def forward(self, x: Tensor) -> Tensor:
        gates = torch.softmax(self.gates(x), 1)
        experts = torch.relu(self.experts(x)).reshape(-1, 4, 6)
        return (gates.unsqueeze(-1) * experts).sum(1)


PART = torch.tril(torch.ones(4, 4)).bool()
FAR = torch.zeros(4, 4).masked_fill(~PART, -torch.inf)
BIAS = torch.linspace(-1, 1, 16).reshape(4, 4).sin()


def scores(h: Tensor) -> Tensor:
    """[B, 4, 4], each a product of two elements."""
    return h[:, :4].unsqueeze(2) * h[:, 4:8].unsqueeze(1)


SPELLINGS: dict[str, Function] = {
    "method": lambda h: h.softmax(-1),
    "over rows of heads": lambda h: F.softmax(h.reshape(-1, 4, 6), dim=1),
    "module": lambda h: nn.Softmax(dim=2)(h.reshape(-1, 4, 6)),
    "softmin": lambda h: F.softmin(h.reshape(-1, 4, 6), dim=-1),
    "Softmax2d": lambda h: nn.Softmax2d()(h.reshape(-1, 6, 2, 2)),
    "temperature": lambda h: F.softmax(h / 0.7, -1),
    "dtype": lambda h: F.softmax(h, -1, dtype=torch.float32),
    "added infinity": lambda h: (scores(h) / 2 + FAR).softmax(-1),
    "masked_fill": lambda h: (scores(h) / 2).masked_fill(~PART, -torch.inf).softmax(-1),
    "masked_fill of a number": lambda h: scores(h).masked_fill(PART == 0, -1e9).softmax(-1),
    "where": lambda h: torch.where(PART, scores(h) * 0.5, -torch.inf).softmax(-1),
    "triu": lambda h: (scores(h) + torch.triu(torch.full((4, 4), -torch.inf), diagonal=1)).softmax(
        -1
    ),
    "scaled after the mask": lambda h: ((scores(h) + FAR) * 0.5).softmax(-1),
    "a mask of views": lambda h: (scores(h).reshape(-1, 2, 2, 4) + FAR.reshape(2, 2, 4)).softmax(
        -1
    ),
    "relative positions": lambda h: (scores(h) + BIAS).softmax(-1),
    "relative positions and a mask": lambda h: (scores(h) + BIAS + FAR).softmax(-1),
    "-100": lambda h: (scores(h) + torch.where(PART, 0.0, -100.0)).softmax(-1),
    "additive mask of BERT": lambda h: (scores(h) + (1 - PART.float()) * -10000.0).softmax(-1),
    "experts": Experts(),
}


@pytest.mark.few(3)
@pytest.mark.sample(8)
@pytest.mark.parametrize("name", slow_but(["added infinity", "experts", "Softmax2d"], SPELLINGS))
def test_spellings(name: str, tmp_path: Path) -> None:
    net = Between(SPELLINGS[name]).eval()
    assert_near(net, X, tmp_path / "net.qbnn")
    model = compiled(net, X, tmp_path / "net.qbnn")
    assert sum(isinstance(n.op, SoftmaxInteger) for n in model.graph.nodes) == 1


def test_gumbel_softmax_is_noise_and_a_softmax(tmp_path: Path) -> None:
    net = Between(lambda h: F.gumbel_softmax(h, dim=1)).eval()
    names = [n.op.name for n in compiled(net, X, tmp_path / "net.qbnn").graph.nodes]
    assert {"noise_codes", "softmax_integer"} <= {*names}


REFUSED: dict[str, tuple[Function, str]] = {
    "log_softmax": (lambda h: F.log_softmax(h, 1), r"only a log_softmax over the classes"),
    "masked wholly": (
        lambda h: (scores(h) + torch.full((4, 4), -torch.inf)).softmax(-1),
        r"masks every element of a row by minus infinity",
    ),
    "read twice": (
        lambda h: (scores(h) + FAR).softmax(-1) + (scores(h) + FAR).relu(),
        r"sets elements to minus infinity, as a mask of attention does",
    ),
}


@pytest.mark.few(2)
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_says_so(name: str, tmp_path: Path) -> None:
    tried, message = REFUSED[name]
    with pytest.raises(UserError, match=message) as caught:
        compiled(Between(tried).eval(), X, tmp_path / "net.qbnn")
    assert "test_softmax.py" in str(caught.value)
    assert list(tmp_path.iterdir()) == []
