"""The building blocks of well-known image networks, small enough to be run in a test."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def conv_bn(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    )


class InvertedResidual(nn.Module):
    """MobileNetV2: expand, depthwise, project; a shortcut where the shapes allow it."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        wide = inputs * 2
        self.shortcut = stride == 1 and inputs == outputs
        self.block = nn.Sequential(
            conv_bn(inputs, wide, 1),
            nn.ReLU6(),
            conv_bn(wide, wide, 3, stride, groups=wide),
            nn.ReLU6(),
            conv_bn(wide, outputs, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.block(x)
        return x + y if self.shortcut else y


class MobileNetV2(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv_bn(3, 4, 3, 2), nn.ReLU6())
        self.blocks = nn.Sequential(InvertedResidual(4, 4, 1), InvertedResidual(4, 6, 2))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(6, 5))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.classifier(self.blocks(self.stem(x)).mean([2, 3]))
        return y


class SqueezeExcite(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, 2, 1)
        self.excite = nn.Conv2d(2, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        s = F.adaptive_avg_pool2d(x, 1)
        return x * F.hardsigmoid(self.excite(F.relu(self.squeeze(s))))


def mobilenet_v3() -> nn.Module:
    return nn.Sequential(
        conv_bn(3, 6, 3, 2),
        nn.Hardswish(),
        conv_bn(6, 6, 5, 1, groups=6),
        nn.Hardswish(),
        SqueezeExcite(6),
        conv_bn(6, 4, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 5),
    )


def vgg() -> nn.Module:
    return nn.Sequential(
        conv_bn(3, 4, 3),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        conv_bn(4, 6, 3),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.AdaptiveAvgPool2d((2, 2)),
        nn.Flatten(),
        nn.Linear(24, 8),
        nn.ReLU(True),
        nn.Dropout(),
        nn.Linear(8, 5),
    )


class Fire(nn.Module):
    def __init__(self, inputs: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.squeeze(x))
        return torch.cat([F.relu(self.expand1x1(x)), F.relu(self.expand3x3(x))], 1)


def squeezenet() -> nn.Module:
    """Ends with a convolution and a global pooling."""
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, 2),
        nn.ReLU(),
        nn.MaxPool2d(3, 1),
        Fire(4, 2, 4),
        Fire(8, 2, 3),
        nn.Conv2d(6, 5, 1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d((1, 1)),
        nn.Flatten(1),
    )


class DenseLayer(nn.Module):
    """Batch norm before the activation, and the input beside the output."""

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(inputs)
        self.conv = nn.Conv2d(inputs, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((x, self.conv(F.relu(self.norm(x)))), dim=1)


def densenet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        DenseLayer(4, 2),
        DenseLayer(6, 2),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 4, 1),
        nn.AvgPool2d(2),
        DenseLayer(4, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 5),
    )


class UNet(nn.Module):
    """One level down and up: by a transposed convolution, or by nearest neighbours."""

    def __init__(self, *, transposed: bool) -> None:
        super().__init__()
        self.down = nn.Sequential(conv_bn(3, 4, 3), nn.ReLU())
        self.bottom = nn.Sequential(nn.MaxPool2d(2), conv_bn(4, 6, 3), nn.LeakyReLU(0.1))
        self.up: nn.Module
        if transposed:
            self.up = nn.ConvTranspose2d(6, 4, 2, stride=2)
        else:
            self.up = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(6, 4, 3, padding=1))
        self.last = nn.Sequential(conv_bn(8, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 1))

    def forward(self, x: Tensor) -> Tensor:
        skipped = self.down(x)
        y: Tensor = self.last(torch.cat([self.up(self.bottom(skipped)), skipped], 1))
        return y


class ShuffleUnit(nn.Module):
    """ShuffleNetV2: half of the channels pass, then all are shuffled."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.branch = nn.Sequential(
            conv_bn(half, half, 1), nn.ReLU(), conv_bn(half, half, 3, 1, half)
        )

    def forward(self, x: Tensor) -> Tensor:
        left, right = x.chunk(2, dim=1)
        joined = torch.cat((left, self.branch(right)), dim=1)
        batch, channels, height, width = joined.shape
        split = joined.view(batch, 2, channels // 2, height, width)
        return split.transpose(1, 2).reshape(batch, -1, height, width)


def shufflenet() -> nn.Module:
    return nn.Sequential(
        conv_bn(3, 4, 3, 2), nn.ReLU(), ShuffleUnit(4), nn.Flatten(2), nn.AdaptiveAvgPool1d(1),
        nn.Flatten(), nn.Linear(4, 5),
    )  # fmt: skip


class BasicBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Sequential(conv_bn(inputs, outputs, 3, stride), nn.ReLU())
        self.second = conv_bn(outputs, outputs, 3)
        self.shortcut = nn.Identity() if stride == 1 else conv_bn(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.second(self.first(x)) + self.shortcut(x))


class SubSpectralNorm(nn.Module):
    """Batch norm of each band of rows by itself."""

    def __init__(self, channels: int, bands: int) -> None:
        super().__init__()
        self.bands, self.norm = bands, nn.BatchNorm2d(channels * bands)

    def forward(self, x: Tensor) -> Tensor:
        split = x.view(x.shape[0], x.shape[1] * self.bands, -1, x.shape[3])
        y: Tensor = self.norm(split).view(x.shape)
        return y


def bc_resnet() -> nn.Module:
    """Bands after a dense convolution, and after a depthwise one."""
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        SubSpectralNorm(4, 2),
        nn.ReLU(),
        nn.Conv2d(4, 4, (3, 1), padding=(1, 0), groups=4, bias=False),
        SubSpectralNorm(4, 4),
        nn.SiLU(),
        nn.Conv2d(4, 5, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )


def resnet18(width: int = 4) -> nn.Module:
    stages = [(1, 1), (1, 1), (2, 2), (2, 1), (4, 2), (4, 1), (8, 2), (8, 1)]
    widths = [width, *(width * factor for factor, _ in stages)]
    blocks = [
        BasicBlock(before, after, stride)
        for before, after, (_, stride) in zip(widths, widths[1:], stages, strict=False)
    ]
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8 * width, 5))
    return nn.Sequential(conv_bn(3, width, 3), nn.ReLU(), *blocks, *head)


ARCHITECTURES = {
    "BC-ResNet": bc_resnet,
    "DenseNet": densenet,
    "MobileNetV2": MobileNetV2,
    "MobileNetV3": mobilenet_v3,
    "ResNet-18": resnet18,
    "ShuffleNetV2": shufflenet,
    "SqueezeNet": squeezenet,
    "UNet, nearest": lambda: UNet(transposed=False),
    "UNet, transposed": lambda: UNet(transposed=True),
    "VGG": vgg,
}
