"""Normalisations of each row by its own statistics, with the values that torch gives."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qbnnc.frontend import read_module
from qbnnc.ir.ops import Normalize
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


def test_norms_that_are_bounded_are_refused() -> None:
    with pytest.raises(CompileError, match="renorm: normalises parts of each row"):
        read_module(Own(lambda x: torch.renorm(x, 2, 1, 1.0)), images(2, 4))
