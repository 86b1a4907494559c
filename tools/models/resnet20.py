"""ResNet-20 for small images, with dropout of channels."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tools.models.dropout import MCDropout2d


class ResNet20_MCD(nn.Module):
    """ResNet-20 (He et al. 2015, section 4.2): three stages of three blocks.

    Args of `forward`:
        x: (N, 1, H, W) float32, pixels 0..1.

    Returns:
        (N, 10) float32 logits.
    """

    def __init__(self, p: float = 0.1, width: int = 16) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3, 1, 1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        blocks, entering = [], width
        for stage in range(3):
            for number in range(3):
                leaving, stride = width << stage, 2 if stage and not number else 1
                blocks.append(BasicBlock(entering, leaving, stride, p))
                entering = leaving
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(entering, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(torch.relu(self.norm(self.stem(x))))
        logits: Tensor = self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))
        return logits


class BasicBlock(nn.Module):
    """Two 3x3 convolutions, dropout and a shortcut."""

    def __init__(self, entering: int, leaving: int, stride: int, p: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(entering, leaving, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(leaving)
        self.conv2 = nn.Conv2d(leaving, leaving, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(leaving)
        self.drop = MCDropout2d(p)
        self.short: nn.Module = nn.Identity()
        if stride != 1 or entering != leaving:
            self.short = nn.Sequential(
                nn.Conv2d(entering, leaving, 1, stride, bias=False), nn.BatchNorm2d(leaving)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.norm1(self.conv1(x)))
        y = self.drop(self.norm2(self.conv2(y)))
        return torch.relu(y + self.short(x))
