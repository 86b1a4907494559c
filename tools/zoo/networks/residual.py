"""Residual networks of images, and those that followed them."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tools.models import MCDropout, MCDropout2d
from tools.zoo.data_sets import digits
from tools.zoo.losses import CLASSES
from tools.zoo.network import Network
from tools.zoo.networks.blocks import Residual, SqueezeExcite, classifier, conv_bn

WIDTHS = (8, 12, 24)


class BasicBlock(nn.Module):
    """Two convolutions beside a shortcut, a ReLU after the sum; `squeezed` weighs channels."""

    def __init__(self, inputs: int, outputs: int, squeezed: int = 0) -> None:
        super().__init__()
        stride = 1 if inputs == outputs else 2
        self.conv1, self.conv2 = conv_bn(inputs, outputs, 3, stride), conv_bn(outputs, outputs, 3)
        self.weigh = SqueezeExcite(outputs, squeezed) if squeezed else nn.Identity()
        self.drop = MCDropout2d(0.1)
        self.shortcut = nn.Identity() if stride == 1 else conv_bn(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        made = self.conv2(self.drop(F.relu(self.conv1(x))))
        return F.relu(self.weigh(made) + self.shortcut(x))


def resnet(squeezed: int = 0) -> nn.Module:
    blocks = [BasicBlock(8, 8, squeezed)]
    blocks += [BasicBlock(before, after, squeezed) for before, after in pairwise(WIDTHS)]
    return nn.Sequential(conv_bn(1, 8, 3), nn.ReLU(), *blocks, classifier(24))


class PreActivation(nn.Module):
    """Batch norm and ReLU before each convolution; nothing after the sum."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        stride = 1 if inputs == outputs else 2
        self.norm1, self.norm2 = nn.BatchNorm2d(inputs), nn.BatchNorm2d(outputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride) if stride == 2 else None

    def forward(self, x: Tensor) -> Tensor:
        active = F.relu(self.norm1(x))
        shortcut = x if self.shortcut is None else self.shortcut(active)
        made = F.relu(self.norm2(self.conv1(active)))
        y: Tensor = shortcut + self.conv2(F.dropout(made, 0.1, training=True))
        return y


def preactivation_resnet() -> nn.Module:
    blocks = [PreActivation(8, 8)] + [PreActivation(a, b) for a, b in pairwise(WIDTHS)]
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, bias=False),
        *blocks,
        nn.BatchNorm2d(24),
        nn.ReLU(),
        classifier(24),
    )


class Bottleneck(nn.Module):
    """ResNeXt: a grouped convolution between two of 1 x 1."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        stride = 1 if inputs == outputs else 2
        self.inner = nn.Sequential(
            conv_bn(inputs, 16, 1), nn.ReLU(), conv_bn(16, 16, 3, stride, groups=4), nn.ReLU(),
            MCDropout2d(0.1), conv_bn(16, outputs, 1),
        )  # fmt: skip
        self.shortcut = nn.Identity() if stride == 1 else conv_bn(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.inner(x) + self.shortcut(x))


def resnext() -> nn.Module:
    blocks = [Bottleneck(8, 8)] + [Bottleneck(a, b) for a, b in pairwise(WIDTHS)]
    return nn.Sequential(conv_bn(1, 8, 3), nn.ReLU(), *blocks, classifier(24))


class RepVGGBlock(nn.Module):
    """Three branches, each with batch norm, which can be folded into one convolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        stride = 1 if inputs == outputs else 2
        self.three = conv_bn(inputs, outputs, 3, stride)
        self.one = conv_bn(inputs, outputs, 1, stride)
        self.same = nn.BatchNorm2d(inputs) if stride == 1 else None

    def forward(self, x: Tensor) -> Tensor:
        made = self.three(x) + self.one(x)
        return F.relu(made if self.same is None else made + self.same(x))


def repvgg() -> nn.Module:
    return nn.Sequential(
        RepVGGBlock(1, 8), RepVGGBlock(8, 8), MCDropout2d(0.1), RepVGGBlock(8, 16),
        RepVGGBlock(16, 16), MCDropout2d(0.1), classifier(16),
    )  # fmt: skip


def wide_resnet() -> nn.Module:
    """Batch ensembles and SWAG are tried on it: wide, shallow, with dropout in the blocks."""
    inner = nn.Sequential(
        nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1), MCDropout(0.2),
        nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1),
    )  # fmt: skip
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, 2, 1), Residual(inner), nn.BatchNorm2d(32), nn.ReLU(), classifier(32)
    )


NETWORKS = (
    Network("ResNet", "he2016", resnet, digits, CLASSES, 6),
    Network("Pre-activation ResNet", "he2016b", preactivation_resnet, digits, CLASSES, 6),
    Network("SE-ResNet", "hu2018", lambda: resnet(4), digits, CLASSES, 6),
    Network("ResNeXt", "xie2017", resnext, digits, CLASSES, 12, 1e-2),
    Network("RepVGG", "ding2021", repvgg, digits, CLASSES, 6),
    Network("Wide ResNet", "zagoruyko2016", wide_resnet, digits, CLASSES, 6),
)
