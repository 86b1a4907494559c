"""A module and its FLOAT graph on the same random numbers: the values must be the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qbnnc.frontend.torch_modes import Function, FunctionMode
from qbnnc.frontend.trace.any_batch import Traced, trace_for_any_batch
from qbnnc.ir.check import check, random_nodes
from qbnnc.ir.evaluate import evaluate
from qbnnc.ir.graph import Graph
from qbnnc.ir.rng import Draw, normal_table

ROWS = 3  # DrawSource tells the elements of batches of 3


def assert_coupled(module: nn.Module, x: Tensor, *, transform: Passes = lambda g: g) -> Graph:
    """The graph of `module`, after `transform`, gives what the module gives on the same numbers.

    `x` has three rows. The lanes of each stream, and random numbers where there are none, are what
    the module draws.
    """
    assert len(x) == ROWS
    traced = trace_for_any_batch(module, x, None)
    graph = transform(traced.graph)
    check(graph)
    for seed in range(4):
        draw = Draw.of(seed, [0], range(ROWS))
        expected = _called(module, x, list(_numbers(traced, draw)))
        for output, truth in zip(evaluate(graph, x.numpy(), draw), expected, strict=True):
            made = np.broadcast_to(output[0], truth.shape)
            np.testing.assert_allclose(made, truth.numpy(), rtol=1e-4, atol=1e-5)
    return traced.graph


Passes = Callable[[Graph], Graph]


def _numbers(traced: Traced, draw: Draw) -> Iterator[Tensor]:
    """For each node that draws, in order: uniform numbers, or normal ones for noise of weights."""
    ops = {op.stream: op for _, op in random_nodes(traced.graph)}
    for node in dict.fromkeys(source.node for source in traced.draws):
        streams = [(i, d) for i, d in enumerate(traced.draws) if d.node is node]
        if streams[0][1].elements is None:
            op = ops[streams[0][0]]
            lanes = draw.lanes(op.stream, prod(op.shape), shared=True)[0, 0]
            yield torch.from_numpy(normal_table()[lanes]).reshape(op.shape)
            continue
        numbers = torch.rand(1 << 14)
        for stream, source in streams:
            op = ops[stream]
            shared = getattr(op, "shared", False)
            lanes = draw.lanes(stream, prod(op.shape), shared=shared)[0]
            high = torch.from_numpy((lanes + 0.5) / 65536).float()
            assert source.elements is not None
            assert source.elements[0].shape == high.shape
            numbers[source.elements[0]] = 1 - high if source.low else high
        yield numbers


def _called(module: nn.Module, x: Tensor, numbers: list[Tensor]) -> tuple[Tensor, ...]:
    drawn = iter(numbers)
    with torch.no_grad(), _Injected(drawn):
        outputs = module(x)
    assert next(drawn, None) is None
    return outputs if isinstance(outputs, tuple) else (outputs,)


class _Injected(FunctionMode):
    """Whatever draws takes its numbers from the list; bernoulli is 1, dropout keeps, if high."""

    def __init__(self, numbers: Iterator[Tensor]) -> None:
        super().__init__()
        self._numbers = numbers

    def called(self, function: Function, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        match function:
            case torch.rand | torch.rand_like | torch.Tensor.uniform_:
                return self._next(function(*args, **kwargs).shape)
            case torch.randn | torch.randn_like:
                return self._next(function(*args, **kwargs).shape)
            case torch.bernoulli:
                p = kwargs.get("p", args[0])
                return (self._next(args[0].shape) >= 1 - p).float()
            case F.dropout:
                return self._dropped(args[0], args[0].shape, *args[1:], **kwargs)
            case F.dropout2d:
                shape = (*args[0].shape[:2], 1, 1)
                return self._dropped(args[0], shape, *args[1:], **kwargs)
        return function(*args, **kwargs)

    def _next(self, shape: Sequence[int]) -> Tensor:
        return next(self._numbers).flatten()[: prod(shape)].reshape(*shape).clone()

    def _dropped(
        self,
        x: Tensor,
        shape: Sequence[int],
        p: float = 0.5,
        training: bool = True,
        inplace: bool = False,
    ) -> Tensor:
        return x * (self._next(shape) >= p) / (1 - p) if training else x
