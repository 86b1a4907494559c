"""A small MobileNetV2, with dropout of channels."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tools.models.dropout import MCDropout, MCDropout2d

EXPANSION = 4
BLOCKS = ((16, 1), (24, 2), (24, 1), (32, 2), (32, 1), (48, 1), (48, 1))  # channels, stride


class MobileNet_MCD(nn.Module):
    """MobileNetV2 (Sandler et al. 2018) with seven blocks.

    Args of `forward`:
        x: (N, 1, H, W) float32, pixels 0..1.

    Returns:
        (N, 10) float32 logits.
    """

    def __init__(self, p: float = 0.1) -> None:
        super().__init__()
        self.stem = convolution(1, 16, 3)
        blocks, entering = [], 16
        for leaving, stride in BLOCKS:
            blocks.append(InvertedResidual(entering, leaving, stride, p))
            entering = leaving
        self.blocks = nn.Sequential(*blocks)
        self.last = convolution(entering, 96, 1)
        self.drop = MCDropout(2 * p)
        self.head = nn.Linear(96, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.last(self.blocks(self.stem(x)))
        x = F.adaptive_avg_pool2d(x, 1).flatten(1)
        logits: Tensor = self.head(self.drop(x))
        return logits


class InvertedResidual(nn.Module):
    """Expansion, depthwise convolution and linear projection; a shortcut where shapes agree."""

    def __init__(self, entering: int, leaving: int, stride: int, p: float) -> None:
        super().__init__()
        inner = EXPANSION * entering
        self.path = nn.Sequential(
            convolution(entering, inner, 1),
            convolution(inner, inner, 3, stride, groups=inner),
            nn.Conv2d(inner, leaving, 1, bias=False),
            nn.BatchNorm2d(leaving),
            MCDropout2d(p),
        )
        self.shortcut = stride == 1 and entering == leaving

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.path(x)
        return torch.add(x, y) if self.shortcut else y


def convolution(
    entering: int, leaving: int, size: int, stride: int = 1, groups: int = 1
) -> nn.Module:
    """A convolution with batch normalisation and ReLU6."""
    return nn.Sequential(
        nn.Conv2d(entering, leaving, size, stride, size // 2, groups=groups, bias=False),
        nn.BatchNorm2d(leaving),
        nn.ReLU6(),
    )
