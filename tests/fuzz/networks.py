"""The networks whose files the targets `programs` and `states` change."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Small(nn.Module):
    """6 features to 2, with dropout."""

    def __init__(self, features: int = 6) -> None:
        super().__init__()
        self.fc1 = nn.Linear(features, 5)
        self.norm = nn.BatchNorm1d(5)
        self.drop = nn.Dropout(0.25)
        self.fc2 = nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fc2(self.drop(functional.relu(self.norm(self.fc1(x)))))
        return y


class Image(nn.Module):
    """A convolution, a pool and a layer; two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3, padding=1)
        self.fc = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = functional.max_pool2d(functional.relu(self.conv(x)), 2).flatten(1)
        logits: Tensor = self.fc(y)
        return logits, torch.tanh(logits)
