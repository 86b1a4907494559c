"""Masks of one stream and negative deviations in PyTorch: simulation, evaluation, plain modules."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from qbnnc.backends.torch.evaluate import torch_samples
from qbnnc.backends.torch.float_export import as_module
from qbnnc.backends.torch.noise import FreshNoise
from qbnnc.ir.graph import Graph
from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from qbnnc.ir.ops import Add, KeepMask, Mask
from qbnnc.ir.oracle import oracle_samples
from qbnnc.support.errors import Loc
from tests.conformance.test_noise import GRAPHS
from tests.graphs import inputs
from tests.net import Net


@pytest.mark.parametrize("name", GRAPHS)
def test_evaluation_draws_the_numbers_of_the_oracle(name: str) -> None:
    model, x = Model((GRAPHS[name],), Head(Task.RAW)), inputs(GRAPHS[name])
    made = torch_samples(model, x, samples=3, seed=5)
    expected = oracle_samples(model, x, samples=3, seed=5)
    for a, b in zip(made, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shared", [False, True])
def test_fresh_masks_of_one_stream_are_complements(shared: bool) -> None:
    noise, like = FreshNoise(torch.Generator().manual_seed(0)), torch.zeros(50, 4)
    plain = noise.draw(KeepMask((4,), 0.3, 0, shared), 50, like)
    low = noise.draw(KeepMask((2, 2), 0.7, 0, shared, inverted=True), 50, like)
    assert plain.shape == (1 if shared else 50, 4)
    assert bool((plain + low.reshape(plain.shape) == 1).all())
    assert plain.dtype == like.dtype


def split() -> Graph:
    """x under a mask, plus x under its complement: x itself."""
    net, parts = Net((4,)), []
    x = net.value
    for name, op in (("a", KeepMask((4,), 0.3, 0)), ("b", KeepMask((4,), 0.7, 0, inverted=True))):
        keep = net.build.emit(op, loc=Loc(name), name=f"{name}.keep")
        parts.append(net.build.emit(Mask(1.0), x, keep, loc=Loc(name), name=name))
    total = net.build.emit(Add(), parts[0], parts[1], loc=Loc("add"), name="add")
    return net.graph(parts[0], total)


def test_plain_modules_draw_one_number_for_both() -> None:
    x = torch.from_numpy(inputs(split(), 4000))
    torch.manual_seed(0)
    part, total = as_module((split(),), x)(x)
    assert torch.equal(total, x)
    assert abs(float((part != 0).float().mean()) - 0.7) < 0.02
