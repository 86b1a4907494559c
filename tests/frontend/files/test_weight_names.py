"""Prefixes that trainers put before the names of weights are taken off, with a warning."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from qbnnc.frontend import read_file
from qbnnc.ir.graph import Graph
from qbnnc.support.errors import FileError, SourceWarning
from tests.frontend.nets import Net

NET = "tests.frontend.nets:Net"
ROWS = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)


def states() -> dict[str, Tensor]:
    torch.manual_seed(5)
    return Net().state_dict()


def read(stored: object, path: Path) -> Graph:
    torch.save(stored, path)
    return read_file(path, factory=NET, example=ROWS, dropout="off").graph


def weight_of(graph: Graph, name: str) -> list[object]:
    return next(a.tolist() for value, a in graph.constants.items() if value.name == name)


@pytest.mark.few(1)
@pytest.mark.parametrize("prefix", ["module.", "model.", "net.", "_orig_mod.", "model._orig_mod."])
def test_a_prefix_is_taken_off_and_said(prefix: str, tmp_path: Path) -> None:
    wrapped = {f"{prefix}{name}": tensor for name, tensor in states().items()}
    with pytest.warns(SourceWarning, match=r"net.pt: '.*' is taken off the names"):
        graph = read(wrapped, tmp_path / "net.pt")
    assert weight_of(graph, "fc1.weight") == states()["fc1.weight"].tolist()


def test_averaged_model(tmp_path: Path) -> None:
    torch.manual_seed(5)
    with pytest.warns(SourceWarning, match="'module.' is taken off"):
        graph = read(AveragedModel(Net()).state_dict(), tmp_path / "net.pt")
    assert weight_of(graph, "fc1.weight") == states()["fc1.weight"].tolist()


def test_what_is_beside_the_network_is_left_out_and_said(tmp_path: Path) -> None:
    stored = {f"model.{name}": tensor for name, tensor in states().items()}
    with pytest.warns(SourceWarning, match=r"left out: criterion\.weight"):
        read({**stored, "criterion.weight": torch.ones(2)}, tmp_path / "net.pt")


def test_two_networks_in_one_file(tmp_path: Path) -> None:
    twice = {f"{p}.{name}": t for p in ("model", "ema") for name, t in states().items()}
    with pytest.raises(FileError, match=r"the network 2 times \(under ema\., model\.\)"):
        read(twice, tmp_path / "net.pt")


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 6), nn.Linear(6, 6)
        self.b.weight = self.a.weight

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.b(torch.relu(self.a(x)))
        return y


def test_weights_that_are_tied_in_the_network_alone(tmp_path: Path) -> None:
    state = Tied().state_dict()
    torch.save({**state, "b.weight": state["b.weight"] + 1}, tmp_path / "net.pt")
    with pytest.raises(FileError, match=r"a\.weight and b\.weight are one tensor in the network"):
        read_file(
            tmp_path / "net.pt", factory="tests.frontend.files.test_weight_names:Tied", example=ROWS
        )
