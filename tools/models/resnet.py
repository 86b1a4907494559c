"""ResNet-18 for 32 x 32 images, with dropout of channels or with Gaussian weights."""

import torch
from torch import Tensor, nn

from tools.models.dropout import MCDropout2d
from tools.models.gaussian import BBBConv2d, BBBLinear

SIGMA = 0.02  # the standard deviation of every Gaussian weight


class ResNet18(nn.Module):
    """ResNet-18 (He et al. 2015) for 32 x 32 images, four stages of `width` to 8 `width` channels.

    `kind` "mcd" drops channels in every block, with p = .15, and "last" in the last stage alone.
    "bbb" has Gaussian weights.
    """

    def __init__(self, kind: str, width: int = 64) -> None:
        super().__init__()
        self.kind = kind
        self.stem = self.conv(3, width, 3)
        self.norm = nn.BatchNorm2d(width)
        blocks, entering = [], width
        for stage in range(4):
            for number in range(2):
                leaving = width << stage
                stride = 2 if stage and not number else 1
                drops = kind == "mcd" or (kind == "last" and stage == 3)
                blocks.append(Block(self, entering, leaving, stride, drops=drops))
                entering = leaving
        self.blocks = nn.Sequential(*blocks)
        self.head = BBBLinear(entering, 10, SIGMA) if kind == "bbb" else nn.Linear(entering, 10)

    def conv(self, entering: int, leaving: int, size: int, stride: int = 1) -> nn.Module:
        if self.kind == "bbb":
            return BBBConv2d(entering, leaving, size, SIGMA, stride, size // 2)
        return nn.Conv2d(entering, leaving, size, stride, size // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(torch.relu(self.norm(self.stem(x))))
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    def __init__(
        self, net: ResNet18, entering: int, leaving: int, stride: int, *, drops: bool
    ) -> None:
        super().__init__()
        self.conv1, self.norm1 = net.conv(entering, leaving, 3, stride), nn.BatchNorm2d(leaving)
        self.conv2, self.norm2 = net.conv(leaving, leaving, 3), nn.BatchNorm2d(leaving)
        self.drop = MCDropout2d(0.15) if drops else nn.Identity()
        self.short: nn.Module = nn.Identity()
        if stride != 1 or entering != leaving:
            self.short = nn.Sequential(
                net.conv(entering, leaving, 1, stride), nn.BatchNorm2d(leaving)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = self.drop(torch.relu(self.norm1(self.conv1(x))))
        y = self.norm2(self.conv2(y)) + self.short(x)
        return torch.relu(y)
