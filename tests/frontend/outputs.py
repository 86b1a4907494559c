"""Outputs of a graph, compared with those of its module."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from qbnnc.frontend import read_module
from qbnnc.ir.evaluate import evaluate
from qbnnc.ir.graph import Graph
from qbnnc.ir.rng import Draw
from qbnnc.ir.types import Array


def outputs_of(graph: Graph, x: Tensor) -> tuple[Array, ...]:
    """The outputs [B, *shape] of one sample of the graph, by the oracle."""
    outputs = evaluate(graph, x.to(torch.float32).numpy(), Draw.of(0, range(1), range(len(x))))
    return tuple(output[0] for output in outputs)


def assert_same(module: nn.Module, x: Tensor) -> Graph:
    """Check that the graph, traced with two rows, gives the module's outputs for all rows of x."""
    module.eval()
    graph = read_module(module, x[:2], dropout="off")
    with torch.no_grad():
        expected = module(x)
    wanted: list[Tensor] = [expected] if isinstance(expected, Tensor) else list(expected)
    for ours, theirs in zip(outputs_of(graph, x), wanted, strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-5, atol=1e-5)
    return graph


def images(count: int, *shape: int) -> Tensor:
    """Random rows of this shape, the same at each call."""
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(3))
