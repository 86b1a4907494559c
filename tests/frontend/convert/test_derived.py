"""Ensembles of which loading derives more than tensors: each member has its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qbnnc.frontend import read_file, read_modules
from qbnnc.ir.ops import KeepMask
from qbnnc.support.errors import CompileError
from tests.frontend.nets import Net
from tests.frontend.outputs import outputs_of

ROWS = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)
LOGITS = (-3.0, -1.0, 1.0)


class Learnt(nn.Module):
    """Dropout of which p is learnt, and a float by the time it is used."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.logit = nn.Linear(6, 2), nn.Parameter(torch.tensor(-1.0))
        self.derive()
        self.register_load_state_dict_post_hook(  # type: ignore[no-untyped-call]  # torch's
            lambda module, keys: module.derive()
        )

    def derive(self) -> None:
        self.p = float(torch.sigmoid(self.logit.detach()))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fc(F.dropout(x, self.p, True))
        return y


class Pruned(nn.Module):
    """A mask as a plain tensor, derived from the weights in load_state_dict."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.slope = nn.Linear(6, 2), 0.0
        self.mask = torch.ones(2, 6)

    def load_state_dict(
        self, state_dict: Mapping[str, Tensor], strict: bool = True, assign: bool = False
    ) -> object:
        found: object = super().load_state_dict(state_dict, strict, assign)
        self.mask = (self.fc.weight.detach().abs() > 0.2).float()
        self.slope = float(self.fc.bias.detach().abs().mean())
        return found

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(F.linear(x, self.fc.weight * self.mask, self.fc.bias), self.slope)


@pytest.mark.few(0)
def test_a_learnt_probability(tmp_path: Path) -> None:
    states = [{**Learnt().state_dict(), "logit": torch.tensor(logit)} for logit in LOGITS]
    torch.save(states, tmp_path / "nets.pt")
    source = read_file(
        tmp_path / "nets.pt", factory="tests.frontend.convert.test_derived:Learnt", example=ROWS
    )
    p = [n.op.p for graph in source.graphs for n in graph.nodes if isinstance(n.op, KeepMask)]
    np.testing.assert_allclose(p, 1 / (1 + np.exp(-np.array(LOGITS))), rtol=1e-6)


@pytest.mark.few(0)
def test_a_pruning_mask(tmp_path: Path) -> None:
    torch.manual_seed(0)
    states = [Pruned().state_dict() for _ in range(3)]
    torch.save(states, tmp_path / "nets.pt")
    source = read_file(
        tmp_path / "nets.pt", factory="tests.frontend.convert.test_derived:Pruned", example=ROWS
    )
    for graph, state in zip(source.graphs, states, strict=True):
        net = Pruned()
        net.load_state_dict(state)
        expected = net(torch.from_numpy(ROWS)).detach()
        (output,) = outputs_of(graph, torch.from_numpy(ROWS))
        np.testing.assert_allclose(output, expected, rtol=1e-5, atol=1e-6)


def test_modules_in_memory() -> None:
    torch.manual_seed(0)
    first, second = Net().eval(), Net().eval()
    graphs = read_modules([first, second, first], ROWS, dropout="off").graphs
    for graph, net in zip(graphs, (first, second, first), strict=True):
        (output,) = outputs_of(graph, torch.from_numpy(ROWS))
        expected = net(torch.from_numpy(ROWS)).detach()
        np.testing.assert_allclose(output, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.few(0)
def test_modules_in_memory_that_are_not_one_network() -> None:
    with pytest.raises(CompileError, match=r"member 1 .*member 0"):
        read_modules([Net().eval(), nn.Sequential(nn.Linear(6, 2))], ROWS, dropout="off")
    broken = Net().eval()
    broken.fc1.weight.data.fill_(float("nan"))
    with pytest.raises(CompileError, match=r"^fc1.weight: holds NaN .*\(in member 1\)"):
        read_modules([Net().eval(), broken], ROWS, dropout="off")
