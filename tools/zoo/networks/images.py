"""Image classifiers before and beside residual networks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tools.models import BBBConv2d, BBBLinear, MCDropout, MCDropout2d
from tools.zoo.data_sets import digits, points
from tools.zoo.losses import CLASSES
from tools.zoo.network import Network
from tools.zoo.networks.blocks import classifier, conv_bn


def lenet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 8, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), MCDropout2d(0.1),
        nn.Conv2d(8, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), MCDropout2d(0.1),
        nn.Flatten(), nn.Linear(256, 64), nn.ReLU(), MCDropout(0.2), nn.Linear(64, 10),
    )  # fmt: skip


def bayesian_lenet() -> nn.Module:
    return nn.Sequential(
        BBBConv2d(1, 8, 3, 0.03, padding=1), nn.ReLU(), nn.AvgPool2d(2),
        BBBConv2d(8, 16, 3, 0.03, padding=1), nn.ReLU(), nn.AvgPool2d(2),
        nn.Flatten(), BBBLinear(256, 10, 0.03),
    )  # fmt: skip


def vgg() -> nn.Module:
    layers = list[nn.Module]()
    for before, after in ((1, 8), (8, 16), (16, 24)):
        layers += [conv_bn(before, after, 3), nn.ReLU(inplace=True)]
        layers += [conv_bn(after, after, 3), nn.ReLU(inplace=True), nn.MaxPool2d(2)]
    return nn.Sequential(
        *layers, nn.Flatten(), nn.Linear(96, 48), nn.ReLU(True), MCDropout(0.3), nn.Linear(48, 10)
    )


def network_in_network() -> nn.Module:
    """Each convolution is a small network that slides; dropout between the blocks."""

    def block(inputs: int, outputs: int, kernel: int) -> list[nn.Module]:
        return [
            nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2), nn.ReLU(),
            nn.Conv2d(outputs, outputs, 1), nn.ReLU(),
        ]  # fmt: skip

    return nn.Sequential(
        *block(1, 16, 5), nn.MaxPool2d(3, 2, ceil_mode=True), MCDropout(0.1),
        *block(16, 24, 3), nn.AvgPool2d(3, 2, padding=1), MCDropout(0.1),
        *block(24, 24, 3), nn.Conv2d(24, 10, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    )  # fmt: skip


def all_convolutional() -> nn.Module:
    """Strides in place of pooling."""
    return nn.Sequential(
        MCDropout(0.05), nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(),
        nn.Conv2d(12, 12, 3, stride=2, padding=1), nn.ReLU(), MCDropout(0.1),
        nn.Conv2d(12, 24, 3, padding=1), nn.ReLU(),
        nn.Conv2d(24, 24, 3, stride=2, padding=1), nn.ReLU(), MCDropout(0.1),
        nn.Conv2d(24, 10, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(1),
    )  # fmt: skip


class DenseLayer(nn.Module):
    """Adds `growth` channels beside those that it was given."""

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = (
            nn.BatchNorm2d(inputs),
            nn.Conv2d(inputs, 2 * growth, 1, bias=False),
        )
        self.norm2 = nn.BatchNorm2d(2 * growth)
        self.conv2 = nn.Conv2d(2 * growth, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        made = self.conv1(F.relu(self.norm1(x)))
        made = self.conv2(F.relu(self.norm2(made)))
        return torch.cat([x, F.dropout(made, 0.1, training=True)], 1)


def densenet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2, padding=1, bias=False),
        DenseLayer(8, 6), DenseLayer(14, 6), nn.BatchNorm2d(20), nn.ReLU(),
        nn.Conv2d(20, 10, 1, bias=False), nn.AvgPool2d(2),
        DenseLayer(10, 6), DenseLayer(16, 6), nn.BatchNorm2d(22), nn.ReLU(), classifier(22),
    )  # fmt: skip


class Inception(nn.Module):
    """Four branches side by side."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.one = conv_bn(inputs, 8, 1)
        self.three = nn.Sequential(conv_bn(inputs, 6, 1), nn.ReLU(), conv_bn(6, 8, 3))
        self.five = nn.Sequential(conv_bn(inputs, 4, 1), nn.ReLU(), conv_bn(4, 4, 5))
        self.pooled = nn.Sequential(nn.MaxPool2d(3, 1, 1), conv_bn(inputs, 4, 1))

    def forward(self, x: Tensor) -> Tensor:
        parts = [self.one(x), self.three(x), self.five(x), self.pooled(x)]
        return F.relu(torch.cat(parts, dim=1))


def inception() -> nn.Module:
    return nn.Sequential(
        conv_bn(1, 12, 3), nn.ReLU(), nn.MaxPool2d(2), Inception(12), nn.MaxPool2d(2),
        Inception(24), nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten(), MCDropout(0.3),
        nn.Linear(24, 10),
    )  # fmt: skip


class PointNet(nn.Module):
    """The same layers for every point, the largest of each channel, and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.points = nn.Sequential(
            nn.Conv1d(3, 24, 1), nn.BatchNorm1d(24), nn.ReLU(),
            nn.Conv1d(24, 48, 1), nn.BatchNorm1d(48), nn.ReLU(),
        )  # fmt: skip
        self.last = nn.Sequential(nn.Linear(48, 32), nn.ReLU(), MCDropout(0.2), nn.Linear(32, 10))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(torch.max(self.points(x), 2)[0])
        return y


NETWORKS = (
    Network("LeNet", "lecun1998", lenet, digits, CLASSES, 8),
    Network(
        "Bayesian LeNet",
        "shridhar2019",
        bayesian_lenet,
        digits,
        CLASSES,
        10,
        posterior="Gaussian weights",
    ),
    Network("VGG", "simonyan2015", vgg, digits, CLASSES, 6),
    Network("Network in network", "lin2014", network_in_network, digits, CLASSES, 30),
    Network("All convolutional", "springenberg2015", all_convolutional, digits, CLASSES, 12),
    Network("DenseNet", "huang2017", densenet, digits, CLASSES, 8),
    Network("Inception", "szegedy2015", inception, digits, CLASSES, 8),
    Network("PointNet", "qi2017", PointNet, points, CLASSES, 20),
)
