"""Normalisations of each row by its own statistics, with the values that torch gives."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from qbnnc.frontend import read_module
from qbnnc.ir.ops import Linear, Normalize, SampledWeight
from qbnnc.support.errors import CompileError
from tests.frontend.outputs import assert_same, images


class Own(nn.Module):
    """A function as a network."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def shaken(layer: nn.Module) -> nn.Module:
    """The layer with random weights, biases and statistics; variances are positive."""
    torch.manual_seed(5)
    for name, tensor in layer.state_dict().items():
        if tensor.is_floating_point():
            tensor.copy_(
                torch.rand_like(tensor) + 0.5 if "var" in name else torch.randn_like(tensor)
            )
    return layer


LAYERS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "layer norm": (nn.LayerNorm(7), (7,)),
    "layer norm of tokens": (nn.LayerNorm(6, eps=0.1), (5, 6)),
    "layer norm over two axes": (nn.LayerNorm([4, 5]), (3, 4, 5)),
    "layer norm without bias": (nn.LayerNorm(6, bias=False), (5, 6)),
    "layer norm without weights": (nn.LayerNorm(6, elementwise_affine=False), (2, 3, 6)),
    "group norm": (nn.GroupNorm(2, 6), (6, 3, 4)),
    "group norm of one group": (nn.GroupNorm(1, 6), (6, 3, 4)),
    "group norm of single channels": (nn.GroupNorm(6, 6), (6, 3, 4)),
    "group norm of vectors": (nn.GroupNorm(3, 6), (6,)),
    "group norm of a sequence": (nn.GroupNorm(1, 4, eps=0.2), (4, 5)),
    "group norm of volumes": (nn.GroupNorm(2, 4), (4, 2, 3, 2)),
    "instance norm": (nn.InstanceNorm2d(3), (3, 4, 5)),
    "instance norm of volumes": (nn.InstanceNorm3d(2, affine=True), (2, 3, 2, 4)),
    "instance norm with weights": (nn.InstanceNorm1d(3, affine=True), (3, 8)),
    "instance norm with fixed statistics": (
        nn.InstanceNorm2d(3, affine=True, track_running_stats=True),
        (3, 4, 5),
    ),
    "RMS norm": (nn.RMSNorm(6), (5, 6)),
    "RMS norm with its own eps": (nn.RMSNorm([4, 5], eps=0.3, elementwise_affine=False), (4, 5)),
}


@pytest.mark.sample(7)
@pytest.mark.parametrize("name", LAYERS)
def test_layers(name: str) -> None:
    layer, shape = LAYERS[name]
    graph = assert_same(shaken(layer), images(4, *shape) * 2 + 0.5)
    norms = [node for node in graph.nodes if isinstance(node.op, Normalize)]
    assert len(norms) == ("fixed statistics" not in name)


BY_HAND: dict[str, Callable[[Tensor], Tensor]] = {
    "F.normalize": F.normalize,
    "standardise": lambda x: (x - x.mean(1, keepdim=True)) / (x.std(1, keepdim=True) + 0.01),
    "RMS": lambda x: x * (x.pow(2).mean(1, keepdim=True) + 1e-5).rsqrt(),
    "channels last": lambda x: F.layer_norm(x.permute(0, 2, 3, 1), (3,)).permute(0, 3, 1, 2),
    "share": lambda x: x.abs() / (x.abs().sum((2, 3), keepdim=True) + 1),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_by_hand(name: str) -> None:
    assert_same(Own(BY_HAND[name]), images(4, 3, 4, 2))


CENTRES = torch.linspace(-1, 2, 15).reshape(5, 3)

COSINES: dict[str, Callable[[Tensor], Tensor]] = {
    "two steps": lambda x: F.cosine_similarity(x[:, 0], x[:, 1], dim=1)[:, None],
    "default axis": lambda x: F.cosine_similarity(x, x.flip(2)),
    "each with each": lambda x: F.cosine_similarity(x[:, :, None], x[:, None], dim=-1).flatten(1),
    "centres": lambda x: torch.cosine_similarity(x[:, 0, None], CENTRES, dim=2, eps=0.5),
    "one number a row": lambda x: F.cosine_similarity(x, x[:, :, :1], dim=2),
    "module": lambda x: nn.CosineSimilarity(dim=-1, eps=1e-6)(x, x[:, :1] + 0.5),
}


@pytest.mark.few(3)
@pytest.mark.parametrize("name", COSINES)
def test_cosines(name: str) -> None:
    assert_same(Own(COSINES[name]), images(4, 4, 3))


class Drawn(nn.Module):
    """A norm whose weight, or whose bias too, is sampled (Bayes by Backprop)."""

    def __init__(self, *, bias: bool, groups: bool = False) -> None:
        super().__init__()
        self.layer, self.bias, self.groups = nn.Linear(4, 6), bias, groups
        self.mu, self.rho = nn.Parameter(torch.ones(6)), nn.Parameter(torch.full((6,), -2.0))

    def forward(self, x: Tensor) -> Tensor:
        hidden: Tensor = self.layer(x)
        weight = self.mu + F.softplus(self.rho) * torch.randn_like(self.mu)
        bias = self.mu * 0.5 + 0.1 * torch.randn_like(self.mu) if self.bias else self.mu
        if self.groups:
            return F.group_norm(hidden, 2, weight, bias)
        return F.layer_norm(hidden, (6,), weight, bias)


@pytest.mark.parametrize("bias", [False, True])
def test_a_sampled_weight_scales_what_the_norm_gives(bias: bool) -> None:
    graph = read_module(Drawn(bias=bias), images(8, 4))
    (norm,) = (node for node in graph.nodes if isinstance(node.op, Normalize))
    assert [graph.constants[value].tolist() for value in norm.inputs[1:]] == [[1.0], [0.0]]
    assert sum(isinstance(node.op, SampledWeight) for node in graph.nodes) == 1 + bias


def test_sampled_weights_of_channels_are_refused_with_what_compiles() -> None:
    with pytest.raises(CompileError, match="affine=False"):
        read_module(Drawn(bias=True, groups=True), images(8, 4))


class StepsFirst(nn.Module):
    """A norm of a sequence whose first axis is the step."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = shaken(nn.LayerNorm(6))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(x.transpose(0, 1))
        return y.transpose(0, 1)


def test_the_batch_may_be_the_second_axis() -> None:
    graph = assert_same(StepsFirst(), images(4, 5, 6))
    assert [type(node.op) for node in graph.nodes] == [Normalize]


@pytest.mark.parametrize("norm", [parametrizations.weight_norm, parametrizations.spectral_norm])
def test_norms_of_weights_are_constants(norm: Callable[[nn.Module], nn.Module]) -> None:
    torch.manual_seed(2)
    graph = assert_same(norm(nn.Linear(6, 3)), images(4, 6))
    assert [type(node.op) for node in graph.nodes] == [Linear]


def test_norms_that_are_bounded_are_refused() -> None:
    with pytest.raises(CompileError, match="renorm: normalises parts of each row"):
        read_module(Own(lambda x: torch.renorm(x, 2, 1, 1.0)), images(2, 4))
