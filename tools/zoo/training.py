"""The training of a network of the zoo: seconds on one core, the same weights every time."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tools.zoo.data_sets import Data
from tools.zoo.losses import Loss, Outputs

BATCH = 64


def outputs_of(made: Tensor | Outputs | dict[str, Tensor]) -> Outputs:
    """Name what a forward returns as a tuple, however it returns it."""
    if isinstance(made, Tensor):
        return (made,)
    return tuple(made.values()) if isinstance(made, dict) else tuple(made)


def train(net: nn.Module, data: Data, loss: Loss, epochs: int, rate: float, seed: int) -> None:
    """Train in place by Adam, the rate falling along a line; the network is in eval mode then."""
    torch.manual_seed(seed)
    x, y = torch.from_numpy(data.x_train), torch.from_numpy(data.y_train)
    optimiser = torch.optim.Adam(net.parameters(), rate)
    steps = epochs * -(-len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.05, steps)
    net.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(BATCH):
            optimiser.zero_grad()
            loss.of(outputs_of(net(x[rows])), y[rows]).backward()
            nn.utils.clip_grad_norm_(net.parameters(), 5.0)
            optimiser.step()
            schedule.step()
    net.eval()
