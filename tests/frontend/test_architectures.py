"""Well-known image networks: the FLOAT graph computes what torch computes, for any batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from qbnnc.frontend import read_module
from qbnnc.ir.check import check
from tests.examples import slow_but
from tests.frontend.architectures import ARCHITECTURES
from tests.frontend.nets import randomise_batch_norm
from tests.frontend.outputs import images, outputs_of


@pytest.mark.parametrize("name", slow_but(["SqueezeNet"], ARCHITECTURES))
def test_same_as_torch(name: str) -> None:
    torch.manual_seed(4)
    net = ARCHITECTURES[name]()
    randomise_batch_norm(net)
    net.eval()
    x = images(3, 3, 16, 16)
    graph = read_module(net, x[:2], dropout="off" if "Drop" in str(net) else None)
    check(graph)
    with torch.no_grad():
        expected = net(x).numpy()
    (output,) = outputs_of(graph, x)
    scale = max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(output, expected, rtol=1e-4, atol=1e-4 * scale)
    assert np.std(expected) > 1e-3
