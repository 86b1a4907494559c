"""spread-interpolations: a GRU's step is recognised however it is written."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from qbnnc.frontend.read import read_module
from qbnnc.ir.check import check
from qbnnc.ir.ops import SumOfProducts
from qbnnc.passes.pipeline import pipeline
from tests.graphs import inputs, run

STEPS, UNITS = 4, 5
SPELLINGS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "n + z * (h - n)": lambda z, h, n: n + z * (h - n),
    "h + z * (n - h)": lambda z, h, n: h + z * (n - h),
    "h - z * (h - n)": lambda z, h, n: h - z * (h - n),
    "h - (h - n) * z": lambda z, h, n: h - (h - n) * z,
    "lerp": lambda z, h, n: torch.lerp(n, h, z),
    "addcmul": lambda z, h, n: torch.addcmul(n, z, h - n),
    "two products": lambda z, h, n: (1 - z) * n + z * h,
}


class Gru(nn.Module):
    """A GRU by hand whose last line is one of the spellings."""

    def __init__(self, spelling: str) -> None:
        super().__init__()
        self.x, self.h, self.spelling = nn.Linear(3, 15), nn.Linear(UNITS, 15), spelling

    def forward(self, x: Tensor) -> Tensor:
        h = torch.zeros(len(x), UNITS)
        for step in range(STEPS):
            of_x, of_h = self.x(x[:, step]).chunk(3, 1), self.h(h).chunk(3, 1)
            r, z = (torch.sigmoid(a + b) for a, b in zip(of_x[:2], of_h[:2], strict=True))
            h = SPELLINGS[self.spelling](z, h, torch.tanh(of_x[2] + r * of_h[2]))
        return h


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_each_step_becomes_one_sum_of_products(spelling: str) -> None:
    torch.manual_seed(0)
    graph = read_module(Gru(spelling).eval(), torch.zeros(2, STEPS, 3))
    before = pipeline().before("spread-interpolations")(graph)
    after = pipeline().only("spread-interpolations")(before)
    check(after)
    x = inputs(graph)
    for a, b in zip(run(before, x), run(after, x), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    whole = pipeline().before("equalise-channels")(graph)
    sums = [node for node in whole.nodes if isinstance(node.op, SumOfProducts)]
    starts_at_zero = spelling in ("h + z * (n - h)", "h - z * (h - n)", "h - (h - n) * z")
    assert len(sums) == STEPS or (starts_at_zero and len(sums) == STEPS - 1)
