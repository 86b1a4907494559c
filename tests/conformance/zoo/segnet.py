"""Bayesian SegNet (Kendall et al. 2015) with few channels: max unpooling and dropout."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SegNet(nn.Module):
    """Two levels of convolutions; dropout before and behind the deepest unpooling."""

    shape = (3, 8, 12)

    def __init__(self) -> None:
        super().__init__()
        self.pool, self.unpool = nn.MaxPool2d(2, 2, return_indices=True), nn.MaxUnpool2d(2, 2)
        self.enc1, self.enc2 = self.block(3, 5), self.block(5, 6)
        self.dec2, self.dec1 = self.block(6, 5), self.block(5, 5)
        self.drop, self.last = nn.Dropout(0.5), nn.Conv2d(5, 3, 3, padding=1)

    @staticmethod
    def block(inputs: int, outputs: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.enc1(x)
        first_size = x.size()
        x, first = self.pool(x)
        x = self.enc2(x)
        second_size = x.size()
        x, second = self.pool(x)
        x = self.unpool(self.drop(x), second, output_size=second_size)
        x = self.unpool(self.drop(self.dec2(x)), first, output_size=first_size)
        y: Tensor = self.last(self.dec1(x))
        return y


class Volumes(nn.Module):
    """Unpooling of volumes and of one axis, with values of any sign, by a hand-written mask."""

    shape = (2, 5, 4, 6)

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.last = nn.Conv3d(2, 3, 3, padding=1), nn.Conv1d(3, 2, 3)
        self.pool, self.unpool = nn.MaxPool3d(2, return_indices=True), nn.MaxUnpool3d(2)
        self.line, self.back = nn.MaxPool1d(3, return_indices=True), nn.MaxUnpool1d(3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        pooled, places = self.pool(x)
        pooled = pooled * (torch.rand_like(pooled) > 0.3)
        x = self.unpool(pooled, places, output_size=x.size()).mean((3, 4))
        x, line = self.line(torch.cat([x, x + 1, -x], 2))
        y: Tensor = self.last(self.back(x, line))
        return y
