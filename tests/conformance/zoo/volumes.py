"""Networks over videos and volumes, in the forms that people publish, with few channels."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class C3D(nn.Module):
    """Tran et al. 2015: 3x3x3 convolutions, pools (the first in planes), linear layers, dropout."""

    shape = (2, 4, 8, 8)

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.pool1 = nn.Conv3d(2, 4, 3, padding=1), nn.MaxPool3d((1, 2, 2), (1, 2, 2))
        self.conv2, self.pool2 = nn.Conv3d(4, 6, 3, padding=1), nn.MaxPool3d(2, 2)
        self.pool3 = nn.MaxPool3d(2, 2, padding=(0, 1, 1))
        self.fc6, self.fc7, self.drop = nn.Linear(24, 12), nn.Linear(12, 3), nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool1(F.relu(self.conv1(x)))
        x = self.pool3(self.pool2(F.relu(self.conv2(x))))
        y: Tensor = self.fc7(self.drop(F.relu(self.fc6(x.flatten(1)))))
        return y


class R2Plus1D(nn.Module):
    """Tran et al. 2018: a residual block of convolutions in planes, and along the time."""

    shape = (3, 4, 6, 6)

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(self.factored(3, 5, 4, 1), nn.ReLU())
        self.block = nn.Sequential(
            self.factored(4, 5, 6, 2), nn.ReLU(), nn.Dropout3d(0.2), self.factored(6, 5, 6, 1)
        )
        self.down = nn.Sequential(nn.Conv3d(4, 6, 1, 2, bias=False), nn.BatchNorm3d(6))
        self.pool, self.last = nn.AdaptiveAvgPool3d(1), nn.Linear(6, 3)

    @staticmethod
    def factored(inputs: int, middle: int, outputs: int, stride: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv3d(inputs, middle, (1, 3, 3), (1, stride, stride), (0, 1, 1), bias=False),
            nn.BatchNorm3d(middle),
            nn.ReLU(),
            nn.Conv3d(middle, outputs, (3, 1, 1), (stride, 1, 1), (1, 0, 0), bias=False),
            nn.BatchNorm3d(outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y: Tensor = self.last(self.pool(F.relu(self.block(x) + self.down(x))).flatten(1))
        return y


class UNet3D(nn.Module):
    """Cicek et al. 2016: two levels, up by a transposed convolution or by interpolation."""

    shape = (1, 4, 6, 4)

    def __init__(self, *, transposed: bool = True) -> None:
        super().__init__()
        self.enter, self.down = self.stage(1, 4), self.stage(4, 6)
        self.up: nn.Module = nn.ConvTranspose3d(6, 6, 2, 2)
        if not transposed:
            self.up = nn.Upsample(scale_factor=2, mode="trilinear")
        self.leave, self.last = self.stage(10, 4), nn.Conv3d(4, 2, 1)
        self.drop = nn.Dropout3d(0.2)

    @staticmethod
    def stage(inputs: int, outputs: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv3d(inputs, outputs, 3, padding=1), nn.BatchNorm3d(outputs), nn.ReLU()
        )

    def forward(self, x: Tensor) -> Tensor:
        whole = self.enter(x)
        half = self.drop(self.down(F.max_pool3d(whole, 2)))
        y: Tensor = self.last(self.leave(torch.cat([self.up(half), whole], 1)))
        return y


class VoxNet(nn.Module):
    """Maturana and Scherer 2015: a strided convolution of 5x5x5, one of 3x3x3, dropout."""

    shape = (1, 9, 9, 9)

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv3d(1, 4, 5, 2), nn.LeakyReLU(0.1), nn.Dropout(0.2),
            nn.Conv3d(4, 4, 2), nn.LeakyReLU(0.1), nn.MaxPool3d(2), nn.Dropout(0.3),
        )  # fmt: skip
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.body(x))
        return y


class Sampled(nn.Module):
    """Bayes by Backprop: a convolution and a transposed one whose weights are sampled."""

    shape = (2, 3, 4, 4)

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.up = nn.Conv3d(2, 4, 3, padding=1), nn.ConvTranspose3d(4, 2, 3, 2, 1, 1)
        self.rho = nn.Parameter(torch.full((4, 2, 3, 3, 3), -3.0))
        self.bias_rho = nn.Parameter(torch.full((4,), -2.0))

    def forward(self, x: Tensor) -> Tensor:
        weight = self.conv.weight + F.softplus(self.rho) * torch.randn_like(self.rho)
        assert self.conv.bias is not None
        bias = self.conv.bias + self.bias_rho.exp() * torch.randn_like(self.bias_rho)
        x = F.relu(F.conv3d(x, weight, bias, padding=1))
        weight = self.up.weight + F.softplus(self.rho) * torch.randn_like(self.rho)
        return F.conv_transpose3d(x, weight, self.up.bias, 2, 1, 1)


class Pooled(nn.Module):
    """Pools whose windows overlap, pooled depthwise volumes, and convolutions in groups."""

    shape = (4, 5, 6, 5)

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv3d(4, 4, 3, 1, 1, groups=4), nn.Conv3d(4, 6, 2, groups=2)

    def forward(self, x: Tensor) -> Tensor:
        x = F.avg_pool3d(F.dropout(self.first(x), 0.2, training=True), 3, 2, 1)
        x = F.max_pool3d(self.second(x), 2, 1)
        return F.adaptive_avg_pool3d(F.pad(x, (1, 1, 1, 1, 2, 1)), (2, 3, 2)).flatten(1)


NETWORKS: Mapping[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "C3D": (C3D, C3D.shape),
    "R(2+1)D": (R2Plus1D, R2Plus1D.shape),
    "3-D U-Net": (UNet3D, UNet3D.shape),
    "3-D U-Net, trilinear": (lambda: UNet3D(transposed=False), UNet3D.shape),
    "VoxNet": (VoxNet, VoxNet.shape),
    "sampled": (Sampled, Sampled.shape),
    "pools": (Pooled, Pooled.shape),
}
