"""Convolutional networks of series: speech, signals, forecasts."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tools.models import MCDropout, MCDropout2d
from tools.zoo.data_sets import HISTORY, HORIZON, sunspots, vowels
from tools.zoo.losses import CLASSES, SQUARES
from tools.zoo.network import Network
from tools.zoo.networks.blocks import MCDropout1d, Residual, conv_bn_1d

FEATURES, SPEAKERS = 12, 9


class Causal(nn.Module):
    """A convolution that sees no later step: padding on the left alone."""

    def __init__(self, inputs: int, outputs: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.left = (kernel - 1) * dilation
        self.conv = nn.Conv1d(inputs, outputs, kernel, dilation=dilation)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(F.pad(x, (self.left, 0)))
        return y


class Chomped(nn.Module):
    """The same, by padding on both sides and cutting the end."""

    def __init__(self, inputs: int, outputs: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.cut = (kernel - 1) * dilation
        self.conv = nn.Conv1d(inputs, outputs, kernel, padding=self.cut, dilation=dilation)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)[:, :, : -self.cut].contiguous()


class TCN(nn.Module):
    """Residual blocks of dilated causal convolutions; the last step decides."""

    def __init__(self) -> None:
        super().__init__()
        blocks = list[nn.Module]()
        for inputs, dilation in ((FEATURES, 1), (16, 2), (16, 4)):
            inner = nn.Sequential(
                Chomped(inputs, 16, 3, dilation), nn.ReLU(), MCDropout1d(0.1),
                Chomped(16, 16, 3, dilation), nn.ReLU(), MCDropout1d(0.1),
            )  # fmt: skip
            shortcut = nn.Conv1d(inputs, 16, 1) if inputs != 16 else None
            blocks += [Residual(inner, shortcut), nn.ReLU()]
        self.blocks, self.last = nn.Sequential(*blocks), nn.Linear(16, SPEAKERS)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(self.blocks(x).mean(2))
        return y


class WaveNet(nn.Module):
    """Gated activations, residual and skip connections; foretells a year."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv1d(1, 12, 1)
        self.filters = nn.ModuleList(Causal(12, 12, 2, 2**i) for i in range(4))
        self.gates = nn.ModuleList(Causal(12, 12, 2, 2**i) for i in range(4))
        self.skips = nn.ModuleList(nn.Conv1d(12, 16, 1) for _ in range(4))
        self.onward = nn.ModuleList(nn.Conv1d(12, 12, 1) for _ in range(4))
        self.drop = MCDropout1d(0.05)
        self.last = nn.Sequential(
            nn.ReLU(), nn.Conv1d(16, 16, 1), nn.ReLU(), nn.Conv1d(16, HORIZON, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(x.unsqueeze(1))
        total = torch.zeros(1)
        layers = zip(self.filters, self.gates, self.skips, self.onward, strict=True)
        for value, gate, skip, onward in layers:
            made = self.drop(torch.tanh(value(hidden)) * torch.sigmoid(gate(hidden)))
            total = total + skip(made)
            hidden = hidden + onward(made)
        return self.last(total)[:, :, -1]


class NBeats(nn.Module):
    """Each block subtracts what it explains, and adds its forecast."""

    def __init__(self, blocks: int = 3, width: int = 48) -> None:
        super().__init__()
        self.hidden = nn.ModuleList(
            nn.Sequential(
                nn.Linear(HISTORY, width),
                nn.ReLU(),
                MCDropout(0.1),
                nn.Linear(width, width),
                nn.ReLU(),
            )
            for _ in range(blocks)
        )
        self.back = nn.ModuleList(nn.Linear(width, HISTORY) for _ in range(blocks))
        self.fore = nn.ModuleList(nn.Linear(width, HORIZON) for _ in range(blocks))

    def forward(self, x: Tensor) -> Tensor:
        forecast: Tensor | float = 0.0
        for hidden, back, fore in zip(self.hidden, self.back, self.fore, strict=True):
            made = hidden(x)
            x = x - back(made)
            forecast = forecast + fore(made)
        assert isinstance(forecast, Tensor)
        return forecast


class TCResNet(nn.Module):
    """Features are channels; residual blocks along time with strides."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv1d(FEATURES, 16, 3, padding=1, bias=False)
        blocks = list[nn.Module]()
        for inputs, outputs in ((16, 24), (24, 32)):
            inner = nn.Sequential(
                conv_bn_1d(inputs, outputs, 9, 2), nn.ReLU(), conv_bn_1d(outputs, outputs, 9)
            )
            shortcut = nn.Sequential(conv_bn_1d(inputs, outputs, 1, 2), nn.ReLU())
            blocks += [Residual(inner, shortcut), nn.ReLU()]
        self.blocks = nn.Sequential(*blocks)
        self.last = nn.Sequential(
            nn.AdaptiveAvgPool1d(1), MCDropout(0.3), nn.Flatten(), nn.Linear(32, SPEAKERS)
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(self.blocks(self.first(x)))
        return y


class SubSpectralNorm(nn.Module):
    """Batch norm of each band of frequencies by itself."""

    def __init__(self, channels: int, bands: int) -> None:
        super().__init__()
        self.bands, self.norm = bands, nn.BatchNorm2d(channels * bands)

    def forward(self, x: Tensor) -> Tensor:
        rows, channels, height, width = x.shape
        split = x.view(rows, channels * self.bands, height // self.bands, width)
        return self.norm(split).view(rows, channels, height, width)


class Broadcast(nn.Module):
    """BC-ResNet: features by frequency and time, and a residual by time that is broadcast."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.frequency = nn.Sequential(
            nn.Conv2d(channels, channels, (3, 1), padding=(1, 0), groups=channels, bias=False),
            SubSpectralNorm(channels, 3),
        )
        self.time = nn.Sequential(
            nn.Conv2d(
                channels, channels, (1, 3), padding=(0, dilation), dilation=(1, dilation),
                groups=channels, bias=False,
            ),
            nn.BatchNorm2d(channels), nn.SiLU(), nn.Conv2d(channels, channels, 1), MCDropout2d(0.1),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        frequencies = self.frequency(x)
        times = self.time(frequencies.mean(2, keepdim=True))
        return F.relu(x + frequencies + times)


class BCResNet(nn.Module):
    """Keyword spotting: the twelve coefficients are the frequencies."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(1, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU())
        self.blocks = nn.Sequential(Broadcast(12, 1), Broadcast(12, 2))
        self.last = nn.Conv2d(12, SPEAKERS, 1)
        self.depthwise = nn.Conv2d(12, 12, (12, 1), groups=12)

    def forward(self, x: Tensor) -> Tensor:
        made = self.depthwise(self.blocks(self.first(x[:, None])))
        y: Tensor = self.last(made.mean(-1, keepdim=True)).flatten(1)
        return y


class InceptionTime(nn.Module):
    """Convolutions of several lengths behind a bottleneck, and maxima, side by side."""

    def __init__(self, inputs: int = FEATURES, width: int = 6) -> None:
        super().__init__()
        self.narrow = nn.Conv1d(inputs, 8, 1, bias=False)
        self.convs = nn.ModuleList(
            nn.Conv1d(8, width, k, padding=k // 2, bias=False) for k in (3, 9, 19)
        )
        self.pooled = nn.Sequential(nn.MaxPool1d(3, 1, 1), nn.Conv1d(inputs, width, 1, bias=False))
        self.norm, self.shortcut = nn.BatchNorm1d(4 * width), conv_bn_1d(inputs, 4 * width, 1)
        self.last = nn.Linear(4 * width, SPEAKERS)

    def forward(self, x: Tensor) -> Tensor:
        narrow = self.narrow(x)
        parts = [conv(narrow) for conv in self.convs] + [self.pooled(x)]
        made = F.relu(self.norm(torch.cat(parts, 1)) + self.shortcut(x))
        made = F.dropout(made, 0.1, training=True)
        y: Tensor = self.last(F.adaptive_avg_pool1d(made, 1).squeeze(-1))
        return y


class EEGNet(nn.Module):
    """A filter in time, one across the electrodes by depth, a separable one; ELU and means."""

    def __init__(self) -> None:
        super().__init__()
        self.temporal = nn.Sequential(
            nn.Conv2d(1, 8, (1, 7), padding=(0, 3), bias=False), nn.BatchNorm2d(8)
        )
        self.spatial = nn.Sequential(
            nn.Conv2d(8, 24, (FEATURES, 1), groups=8, bias=False), nn.BatchNorm2d(24), nn.ELU(),
            nn.AvgPool2d((1, 2)), MCDropout(0.15),
        )  # fmt: skip
        self.separable = nn.Sequential(
            nn.Conv2d(24, 24, (1, 5), padding=(0, 2), groups=24, bias=False),
            nn.Conv2d(24, 24, 1, bias=False), nn.BatchNorm2d(24), nn.ELU(),
            nn.AvgPool2d((1, 2)), MCDropout(0.15),
        )  # fmt: skip
        self.last = nn.Linear(24 * 7, SPEAKERS)

    def forward(self, x: Tensor) -> Tensor:
        made = self.separable(self.spatial(self.temporal(x.unsqueeze(1))))
        y: Tensor = self.last(torch.flatten(made, 1))
        return y


def ecg_resnet() -> nn.Module:
    """Residual blocks with max pools beside strides, dropout between their convolutions."""
    blocks = list[nn.Module]()
    for inputs, outputs in ((16, 16), (16, 32)):
        inner = nn.Sequential(
            conv_bn_1d(inputs, outputs, 7),
            nn.ReLU(),
            MCDropout(0.1),
            conv_bn_1d(outputs, outputs, 7, 2),
        )
        shortcut = nn.Sequential(nn.MaxPool1d(2, ceil_mode=True), nn.Conv1d(inputs, outputs, 1))
        blocks += [Residual(inner, shortcut), nn.BatchNorm1d(outputs), nn.ReLU()]
    return nn.Sequential(
        conv_bn_1d(FEATURES, 16, 7), nn.ReLU(), *blocks, nn.AdaptiveAvgPool1d(1), nn.Flatten(),
        nn.Linear(32, SPEAKERS),
    )  # fmt: skip


NETWORKS = (
    Network("TCN", "bai2018", TCN, vowels, CLASSES, 40),
    Network("WaveNet", "oord2016", WaveNet, sunspots, SQUARES, 10),
    Network("N-BEATS", "oreshkin2020", NBeats, sunspots, SQUARES, 15),
    Network("TC-ResNet", "choi2019", TCResNet, vowels, CLASSES, 30),
    Network("BC-ResNet", "kim2021", BCResNet, vowels, CLASSES, 40),
    Network("InceptionTime", "fawaz2020", InceptionTime, vowels, CLASSES, 40),
    Network("EEGNet", "lawhern2018", EEGNet, vowels, CLASSES, 40),
    Network("ECG ResNet", "hannun2019", ecg_resnet, vowels, CLASSES, 30),
)
