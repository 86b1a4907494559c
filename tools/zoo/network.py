"""A network of the zoo: who published it, how it is built, what it learns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from tools.zoo.data_sets import DataSet
from tools.zoo.losses import Loss
from tools.zoo.papers import Paper, papers
from tools.zoo.training import train


@dataclass(frozen=True, slots=True)
class Network:
    """A network that is trained in seconds; `members` of them are an ensemble.

    `paper` is its key in papers.tsv. `posterior` says in words what is random. `make` builds a
    member with random weights.
    """

    name: str
    paper: str
    make: Callable[[], nn.Module]
    data: DataSet
    loss: Loss
    epochs: int
    rate: float = 3e-3
    posterior: str = "MC dropout"
    members: int = 1

    @property
    def cited(self) -> Paper:
        """The paper that it follows."""
        return papers()[self.paper]

    def trained(self, epochs: int | None = None) -> list[nn.Module]:
        """The members, each from its own seed, in eval mode."""
        made = list[nn.Module]()
        for seed in range(self.members):
            torch.manual_seed(seed)
            net = self.make()
            train(net, self.data(), self.loss, epochs or self.epochs, self.rate, seed)
            made.append(net)
        return made
