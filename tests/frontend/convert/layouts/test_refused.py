"""What is refused where the batch is not first: each message names what would compile."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import pytest
import torch
from torch import Tensor, nn

from qbnnc.frontend import read_module
from qbnnc.support.errors import CompileError

T, D = 4, 6
Forward: TypeAlias = "Callable[[Of, Tensor], Tensor]"


class Of(nn.Module):
    def __init__(self, forward: Forward) -> None:
        super().__init__()
        self.layer, self.conv = nn.Linear(D, D), nn.Conv1d(1, 2, 3)
        self.by_row = nn.Parameter(torch.randn(T, 2, D))
        self.run = forward

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self, x)


def forms(net: Of, x: Tensor) -> Tensor:
    y = x.transpose(0, 1)[:1] + x[:, :1]
    return y.mean(0)


REFUSED: dict[str, tuple[Forward, str]] = {
    "mean over the batch": (lambda net, x: x.transpose(0, 1).mean(1), "holds the batch|the batch"),
    "softmax over the batch": (
        lambda net, x: x.transpose(0, 1).softmax(1).mean(0),
        "of which 1 is the batch",
    ),
    "two orders of axes": (forms, "with the batch as axis 0 and as axis 1"),
    "linear over the batch": (
        lambda net, x: net.layer(x.permute(1, 2, 0)[..., :1].expand(-1, -1, D)),
        "batch",
    ),
    "outputs with time first": (
        lambda net, x: net.layer(x.transpose(0, 1)),
        r"gives \[4, batch, ...\]",
    ),
    "rows joined": (
        lambda net, x: torch.cat([x.transpose(0, 1), x.transpose(0, 1)], 1).mean(0),
        "batch between 2 and 1 of other axes|predictions for each row",
    ),
    "an output that is merged": (
        lambda net, x: net.layer(x.reshape(-1, D)),
        "holds the batch between 1 and 4 of other axes|predictions for each row",
    ),
    "a convolution over time first": (
        lambda net, x: nn.functional.conv1d(x.transpose(0, 1)[:, :1], net.conv.weight).mean(0),
        "batch",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str) -> None:
    forward, message = REFUSED[name]
    with pytest.raises(CompileError, match=message) as caught:
        read_module_of_members(Of(forward))
    assert caught.value.remedy


def read_module_of_members(net: nn.Module) -> None:
    """Read as `compile` does, members included."""
    from qbnnc.frontend import read_modules

    read_modules([net], torch.randn(3, T, D))


def test_more_positions_than_a_network_may_unroll() -> None:
    net = Of(lambda net, x: net.conv(x.reshape(-1, 1, D)).view(-1, 65, 8).mean(1))
    with pytest.raises(CompileError, match="runs on 65 images of each row, and at most 64"):
        read_module(net, torch.randn(3, 65, D))
