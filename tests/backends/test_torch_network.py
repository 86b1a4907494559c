"""FLOAT graphs as a plain module and as float32 ONNX: what other engines are given."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from qbnnc.backends.onnx.engine import open_session
from qbnnc.backends.torch.float_export import as_module, as_onnx
from qbnnc.ir.graph import Graph
from qbnnc.ir.ops import Mask, RandomOp, SampledWeight
from qbnnc.passes.fusion.noise import remove_noise
from tests import graphs

MAKERS = [graphs.resnet, graphs.bayesian_lenet, graphs.rearranged_noise, graphs.squeeze_excite]


@pytest.mark.few(1)
@pytest.mark.parametrize("make", MAKERS)
def test_without_noise_both_are_the_network(make: Callable[[int], Graph]) -> None:
    members = [remove_noise(make(seed)) for seed in (1, 2)]
    assert not any(
        isinstance(node.op, RandomOp | Mask | SampledWeight) for m in members for node in m.nodes
    )
    x = graphs.inputs(members[0], rows=3)
    expected = [output[0] for member in members for output in graphs.run(member, x, samples=1)]
    module = as_module(members, torch.from_numpy(x))
    session = open_session(as_onnx(members, torch.from_numpy(x)), "float32", 1)
    for made in (
        [output.numpy() for output in module(torch.from_numpy(x))],
        session.run(None, {session.get_inputs()[0].name: x}),
    ):
        for ours, theirs in zip(expected, made, strict=True):
            np.testing.assert_allclose(theirs, ours, rtol=1e-4, atol=1e-4)


def test_module_draws_anew() -> None:
    """The mean of many calls is that of the network's samples."""
    graph = graphs.bayesian_mlp()
    x = graphs.inputs(graph, rows=2)
    module = as_module([graph], torch.from_numpy(x))
    samples = np.stack([module(torch.from_numpy(x))[0].numpy() for _ in range(2000)])
    theirs = graphs.run(graph, x, samples=2000)[0]
    assert len(np.unique(samples[:, 0, 0])) > 1000
    error = np.hypot(samples.std(0), theirs.std(0)) / np.sqrt(2000)
    assert (abs(samples.mean(0) - theirs.mean(0)) < 5 * error).all()
