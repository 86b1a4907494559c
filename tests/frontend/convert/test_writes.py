"""Writes into parts of tensors: the graph computes what torch computes, or refuses by name."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from qbnnc.frontend import read_module
from qbnnc.support.errors import CompileError
from tests.frontend.outputs import outputs_of

CHANNELS, STEPS = 3, 6


class Writing(nn.Module):
    """A layer, a function that writes, and another layer over the result."""

    def __init__(self, write: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.write = nn.Linear(STEPS, STEPS), write

    def forward(self, x: Tensor) -> Tensor:
        return self.write(torch.tanh(self.first(x)))


def part(y: Tensor) -> Tensor:
    y[:, 1:] = torch.relu(y[:, 1:])
    return y


def ellipsis(y: Tensor) -> Tensor:
    y[..., -2:] = 3 * y[..., :2]
    return y


def every_second(y: Tensor) -> Tensor:
    y[..., 1::2] = y[..., ::2] + 1
    return y


def one_column(y: Tensor) -> Tensor:
    y[:, :, 0] += 1
    y[:, :, -1] *= y[:, :, 1]
    return y


def number(y: Tensor) -> Tensor:
    y[:, 1, 2:4] = 0.5
    return y


def constants(y: Tensor) -> Tensor:
    y[:, 2] = torch.arange(STEPS) / 4.0
    y[:, :, 3:4] = torch.tensor([[1.0], [2.0], [3.0]])
    return y


def broadcast(y: Tensor) -> Tensor:
    y[:, :2] = y[:, 2:]
    return y


def buffer(y: Tensor) -> Tensor:
    out = torch.zeros(len(y), STEPS, CHANNELS)
    for step in range(STEPS):
        out[:, step] = y[:, :, step] * (step + 1)
    return out


def buffer_read_as_it_grows(y: Tensor) -> Tensor:
    out = y.new_zeros(len(y), CHANNELS, STEPS)
    out[:, :, 0] = y[:, :, 0]
    for step in range(1, STEPS):
        out[:, :, step] = 0.5 * out[:, :, step - 1] + y[:, :, step]
    return out


def buffer_with_numbers_left(y: Tensor) -> Tensor:
    out = torch.ones_like(y)
    out[:, 0, 1:3] = y[:, 0, 1:3]
    out[:, :, 5] = 2.0
    return out


def temporal_shift(y: Tensor) -> Tensor:
    """Lin et al. 2019: some channels come from the step before, some from the step after."""
    out = torch.zeros_like(y)
    out[:, :1, :-1] = y[:, :1, 1:]
    out[:, 1:2, 1:] = y[:, 1:2, :-1]
    out[:, 2:] = y[:, 2:]
    return out


def written_twice(y: Tensor) -> Tensor:
    y[:, 0] = y[:, 1]
    y[:, 0, :3] = -y[:, 2, 3:]
    return y[:, 0:2]


WRITES = (
    part, ellipsis, every_second, one_column, number, constants, broadcast, buffer,
    buffer_read_as_it_grows, buffer_with_numbers_left, temporal_shift, written_twice,
)  # fmt: skip


@pytest.mark.few(4)
@pytest.mark.parametrize("write", WRITES, ids=lambda write: write.__name__)
def test_same_as_torch(write: Callable[[Tensor], Tensor]) -> None:
    net = Writing(write).eval()
    x = torch.randn(4, CHANNELS, STEPS, generator=torch.Generator().manual_seed(1))
    graph = read_module(net, x[:2])
    with torch.no_grad():
        expected = net(x).numpy()
    (found,) = outputs_of(graph, x)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def rows(y: Tensor) -> Tensor:
    y[:1] = 0 * y[:1]
    return y


def one_row(y: Tensor) -> Tensor:
    y[0] = y[0] + 1
    return y


@pytest.mark.parametrize("write", [rows, one_row], ids=lambda write: write.__name__)
def test_rows_of_the_batch_are_written_alike(write: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(CompileError, match="batch"):
        read_module(Writing(write).eval(), torch.randn(2, CHANNELS, STEPS))


def test_a_buffer_is_joined_once() -> None:
    graph = read_module(Writing(buffer).eval(), torch.randn(2, CHANNELS, STEPS))
    kinds = [type(node.op).__name__ for node in graph.nodes]
    assert kinds.count("Concat") == 1
