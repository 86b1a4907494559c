"""Image classifiers for small devices."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tools.models import MCDropout, MCDropout2d
from tools.zoo.data_sets import digits
from tools.zoo.losses import CLASSES
from tools.zoo.network import Network
from tools.zoo.networks.blocks import Residual, SqueezeExcite, classifier, conv_bn


class InvertedResidual(nn.Module):
    """Expand, filter each channel, project; a shortcut where the shapes allow it."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        stride: int,
        active: type[nn.Module],
        gate: nn.Module | None = None,
        kernel: int = 3,
    ) -> None:
        super().__init__()
        wide = 3 * inputs
        self.shortcut = stride == 1 and inputs == outputs
        layers: list[nn.Module] = [conv_bn(inputs, wide, 1), active()]
        layers += [conv_bn(wide, wide, kernel, stride, groups=wide), active()]
        layers += [] if gate is None else [SqueezeExcite(wide, 6, gate)]
        self.block = nn.Sequential(*layers, conv_bn(wide, outputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.block(x)
        return x + F.dropout2d(made, 0.05, training=True) if self.shortcut else made


def mobilenet(active: type[nn.Module], gate: nn.Module | None = None, kernel: int = 3) -> nn.Module:
    """The classifier has dropout, and each block with a shortcut drops channels."""
    shapes = ((8, 8, 1), (8, 12, 2), (12, 12, 1), (12, 16, 2))
    blocks = [InvertedResidual(i, o, stride, active, gate, kernel) for i, o, stride in shapes]
    return nn.Sequential(
        conv_bn(1, 8, 3), active(), *blocks, conv_bn(16, 32, 1), active(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), MCDropout(0.2), nn.Linear(32, 10),
    )  # fmt: skip


class ShuffleUnit(nn.Module):
    """Half of the channels pass, then all are shuffled."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.branch = nn.Sequential(
            conv_bn(half, half, 1), nn.ReLU(), conv_bn(half, half, 3, groups=half),
            conv_bn(half, half, 1), nn.ReLU(),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        left, right = x.chunk(2, dim=1)
        joined = torch.cat((left, self.branch(right)), dim=1)
        rows, channels, height, width = joined.shape
        split = joined.view(rows, 2, channels // 2, height, width)
        return split.transpose(1, 2).contiguous().view(rows, -1, height, width)


def shufflenet() -> nn.Module:
    return nn.Sequential(
        conv_bn(1, 16, 3, 2), nn.ReLU(), ShuffleUnit(16), MCDropout2d(0.1), ShuffleUnit(16),
        nn.MaxPool2d(3, 2, 1), ShuffleUnit(16), conv_bn(16, 32, 1), nn.ReLU(), MCDropout2d(0.1),
        classifier(32),
    )  # fmt: skip


class Ghost(nn.Module):
    """Half of the channels are made by cheap filters from the other half."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        half = outputs // 2
        self.primary = nn.Sequential(conv_bn(inputs, half, 1), nn.ReLU())
        self.cheap = nn.Sequential(conv_bn(half, half, 3, groups=half), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        made = self.primary(x)
        return torch.cat([made, self.cheap(made)], dim=1)


def ghostnet() -> nn.Module:
    blocks = list[nn.Module]()
    for before, width in ((1, 12), (12, 16)):
        inner = nn.Sequential(Ghost(width, 2 * width), MCDropout2d(0.1), Ghost(2 * width, width))
        blocks += [conv_bn(before, width, 3, 2), nn.ReLU(), Residual(inner)]
    return nn.Sequential(*blocks, classifier(16))


class Fire(nn.Module):
    """A narrow layer, then two wide ones side by side."""

    def __init__(self, inputs: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeezed, 1)
        self.one = nn.Conv2d(squeezed, expanded, 1)
        self.three = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.squeeze(x), inplace=True)
        return torch.cat([F.relu(self.one(x)), F.relu(self.three(x))], 1)


def squeezenet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, 2, 1), nn.ReLU(inplace=True), Fire(16, 6, 12), Fire(24, 6, 12),
        nn.MaxPool2d(3, 2, ceil_mode=True), Fire(24, 8, 16), MCDropout(0.2),
        nn.Conv2d(32, 10, 1), nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten(),
    )  # fmt: skip


NETWORKS = (
    Network("MobileNetV2", "sandler2018", lambda: mobilenet(nn.ReLU6), digits, CLASSES, 10),
    Network(
        "MobileNetV3",
        "howard2019",
        lambda: mobilenet(nn.Hardswish, nn.Hardsigmoid(), 5),
        digits,
        CLASSES,
        10,
    ),
    Network(
        "EfficientNet", "tan2019", lambda: mobilenet(nn.SiLU, nn.Sigmoid()), digits, CLASSES, 10
    ),
    Network("ShuffleNetV2", "ma2018", shufflenet, digits, CLASSES, 12, 1e-2),
    Network("GhostNet", "han2020", ghostnet, digits, CLASSES, 12, 1e-2),
    Network("SqueezeNet", "iandola2016", squeezenet, digits, CLASSES, 20, 6e-3),
)
