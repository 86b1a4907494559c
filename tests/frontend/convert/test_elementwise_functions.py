"""Functions of one element are what torch computes, on features, sequences and images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qbnnc.frontend import read_module
from qbnnc.ir.ops import Clamp, Composite, Unary
from qbnnc.support.errors import CompileError
from tests.frontend.convert.spellings import BETA, GROUPS, ONE, Function
from tests.frontend.nets import Around, Spelled
from tests.frontend.outputs import assert_same, images, outputs_of

BORDERS = (-1.0, -0.5, 0.0, 0.1, 0.3, 0.5, 1.0, 2.0)


class Each(nn.Module):
    """Every function, of 4 of 24 features and of rows of [4, 6] and [4, 3, 2]."""

    def __init__(self, functions: list[Function]) -> None:
        super().__init__()
        self.functions = functions

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        ranks = (x[:, :4], x.reshape(-1, 4, 6), x.reshape(-1, 4, 3, 2))
        return tuple(
            torch.cat([f(each.clone()).flatten(1) for each in ranks], 1) for f in self.functions
        )


def inputs() -> Tensor:
    """Normal numbers, and those where a comparison or a piece begins."""
    x = images(5, 24)
    x[0, : len(BORDERS)] = torch.tensor(BORDERS)
    return x


@pytest.mark.few(1)
@pytest.mark.parametrize("group", GROUPS)
def test_as_torch(group: str) -> None:
    x, names = inputs(), list(GROUPS[group])
    module = Each(list(GROUPS[group].values())).eval()
    graph = read_module(module, x[:2], dropout="off")
    with torch.no_grad():
        expected = [y.numpy() for y in module(x)]
    outputs = dict(zip(names, outputs_of(graph, x), strict=True))
    wrong = [
        name
        for name, wanted in zip(names, expected, strict=True)
        if not np.allclose(outputs[name], wanted, rtol=1e-5, atol=1e-5)
    ]
    assert not wrong
    assert all(np.isfinite(wanted).all() for wanted in expected)


ONE_OP: dict[str, Function] = {
    "softplus": lambda x: F.softplus(x, 5.0),
    "selu": F.selu,
    "log2": torch.log2,
    "where": lambda x: torch.where(x > 0, x, torch.expm1(x)),
    "safe": lambda x: torch.where(x > 0, x.sqrt(), 0.0),
    "hardshrink": F.hardshrink,
    "softshrink": F.softshrink,
    "threshold": lambda x: F.threshold(x, 0.1, 20),
    "rrelu": F.rrelu,
}


@pytest.mark.few(2)
@pytest.mark.parametrize("name", ONE_OP)
def test_one_op(name: str) -> None:
    """A function of one value is one table, in whatever ops it is exported."""
    graph = read_module(Spelled(ONE_OP[name]).eval(), images(2, 4), dropout="off")
    assert [type(n.op) for n in graph.nodes] in ([Composite], [Unary])


@pytest.mark.few(1)
@pytest.mark.parametrize("scale", [1.0, 1.2])
@pytest.mark.parametrize("input_scale", [1.0, 0.5, 2.0])
def test_elu_has_a_scale_and_an_input_scale(scale: float, input_scale: float) -> None:
    assert_same(Spelled(lambda x: torch.ops.aten.elu(x, 0.7, scale, input_scale)), images(5, 4))


def test_infinite_bounds_are_none() -> None:
    graph = assert_same(Spelled(lambda x: x.clamp(-float("inf"), 1)), images(3, 4))
    assert [n.op for n in graph.nodes] == [Clamp(None, 1.0)]


def test_prelu_of_a_network() -> None:
    layer = nn.PReLU(4)
    nn.init.uniform_(layer.weight)
    assert_same(nn.Sequential(nn.Conv2d(2, 4, 3), layer, nn.Flatten()), images(3, 2, 5, 5))


UNSUPPORTED: dict[str, tuple[Function, str]] = {
    "power of two": (lambda x: x**x, r"pow: .*write exp\(b \* log\(a\)\)"),
    "exponents": (lambda x: x ** torch.tensor([1.0, 2, 3, 4]), r"its exponent must be one number"),
    "negative base": (lambda x: (-2) ** x, r"power of -2; the base must be positive"),
    "beta 0": (lambda x: F.softplus(x, 0), r"softplus: divides by beta, which is 0"),
    "glu of the batch": (lambda x: F.glu(x, 0).repeat(2, 1), r"glu: halves the batch"),
    "rounding": (torch.round, r"round: rounds activations, and a small error"),
    "floor": (torch.floor, r"floor: rounds activations"),
    "ceil": (torch.ceil, r"ceil: rounds activations"),
    "modulo": (lambda x: x % 1, r"remainder: rounds activations"),
    "integers": (lambda x: x.long() * 2, r"casts activations to torch.int64, which rounds them"),
    "type_as": (lambda x: x.type_as(torch.tensor(1)), r"casts activations to torch.int64"),
    "wrapping": (
        lambda x: (x > 0).byte() - (x > 1).byte(),
        r"sub: is integer arithmetic in torch.uint8, which wraps around",
    ),
    "or": (lambda x: (x > 0) + (x > 1), r"add: adds booleans, which torch takes as `or`"),
    "infinite": (lambda x: (x == torch.inf) * x, r"eq: compares with inf"),
    "attention mask": (
        lambda x: x.masked_fill(x > 0, -torch.inf),
        r"masked_fill: chooses a number that is not finite",
    ),
    "infinite channels": (
        lambda x: torch.minimum(x, ONE / torch.arange(4)),
        r"bounds of which some are infinite",
    ),
    "nan_to_num": (lambda x: x.log().nan_to_num(), r"replaces what log gives outside its domain"),
    "isnan": (lambda x: x.isnan() * x, r"isnan: asks whether values are NaN"),
    "lgamma": (torch.lgamma, r"lgamma: is a special function that is not supported"),
    "logsumexp": (lambda x: x.logsumexp(1, keepdim=True), r"logsumexp: compares or normalises"),
    "distance": (lambda x: F.pairwise_distance(x, 2 * x)[:, None], r"pairwise_distance: comp"),
    "sort": (lambda x: x.sort(1)[0], r"sort: sorts or ranks activations"),
    "topk": (lambda x: x.topk(2, 1)[0], r"topk: sorts or ranks activations"),
    "argmax": (lambda x: x.argmax(1).float(), r"argmax: sorts or ranks activations"),
    "Fourier": (lambda x: torch.fft.rfft(x).real, r"fft_rfft: computes with complex numbers"),
    "cumprod": (lambda x: x.cumprod(1), r"cumprod: runs along an axis step by step.*triangular"),
    "scatter": (
        lambda x: x.index_fill(1, torch.tensor([1]), 0.0),
        r"index_fill: writes or reads at places that are computed",
    ),
    "product of all": (lambda x: x.prod(1, keepdim=True), r"prod: reduces an axis in a way"),
    "determinant": (
        lambda x: (x[:, :, None] * x[:, None]).det()[:, None],
        r"det: is linear algebra on activations",
    ),
    "cond": (
        lambda x: torch.cond(BETA.sum() > 0, lambda y: 2 * y, lambda y: 3 * y, (x,)),
        r"cond: control flow that depends on tensors is not supported.*torch\.where",
    ),
}  # fmt: skip


@pytest.mark.few(4)
@pytest.mark.parametrize("case", UNSUPPORTED)
def test_not_supported(case: str) -> None:
    function, message = UNSUPPORTED[case]
    with pytest.raises(CompileError, match=message):
        read_module(Spelled(function).eval(), images(2, 4))


def test_errors_name_module_and_line() -> None:
    layer = Spelled(lambda x: x.cumprod(1))
    with pytest.raises(CompileError, match=r"^layer \(nets\.py:\d+\): cumprod: runs along"):
        read_module(Around(layer).eval(), images(2, 6))
