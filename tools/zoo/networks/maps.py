"""Networks that answer for every pixel, and autoencoders."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tools.models import MCDropout, MCDropout2d
from tools.zoo.data_sets import distances, reconstruction, scenes
from tools.zoo.losses import CLASSES, EVIDENCE_BOUND, GAUSSIAN, SQUARES
from tools.zoo.network import Network
from tools.zoo.networks.blocks import conv_bn

KINDS = 3


def twice(inputs: int, outputs: int) -> nn.Sequential:
    """Two convolutions with batch norm and ReLU."""
    return nn.Sequential(
        conv_bn(inputs, outputs, 3), nn.ReLU(), conv_bn(outputs, outputs, 3), nn.ReLU()
    )


class UNet(nn.Module):
    """Two levels down and up, by bilinear interpolation or transposed convolutions."""

    def __init__(self, *, bilinear: bool) -> None:
        super().__init__()
        self.one, self.two, self.three = twice(1, 8), twice(8, 12), twice(12, 16)
        self.drop = MCDropout2d(0.15)
        self.up2: nn.Module
        self.up1: nn.Module
        if bilinear:
            self.up2 = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
            self.up1 = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        else:
            self.up2 = nn.ConvTranspose2d(16, 16, 2, stride=2)
            self.up1 = nn.ConvTranspose2d(12, 12, 2, stride=2)
        self.left2, self.left1 = twice(28, 12), twice(20, 8)
        self.last = nn.Conv2d(8, KINDS, 1)

    def forward(self, x: Tensor) -> Tensor:
        one = self.one(x)
        two = self.two(F.max_pool2d(one, 2))
        made = self.drop(self.three(F.max_pool2d(two, 2)))
        made = self.left2(torch.cat([two, self.up2(made)], dim=1))
        y: Tensor = self.last(self.left1(torch.cat([one, self.up1(made)], dim=1)))
        return y


class FCN(nn.Module):
    """Scores of two scales, the coarser one upsampled by a transposed convolution, are added."""

    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.Sequential(twice(1, 12), nn.MaxPool2d(2))
        self.coarse = nn.Sequential(twice(12, 24), nn.MaxPool2d(2), MCDropout2d(0.2))
        self.score_fine, self.score_coarse = nn.Conv2d(12, KINDS, 1), nn.Conv2d(24, KINDS, 1)
        self.up_coarse = nn.ConvTranspose2d(KINDS, KINDS, 4, 2, 1, bias=False)
        self.up = nn.ConvTranspose2d(KINDS, KINDS, 4, 2, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        fine = self.fine(x)
        coarse = self.score_coarse(self.coarse(fine))
        y: Tensor = self.up(self.score_fine(fine) + self.up_coarse(coarse))
        return y


class ASPP(nn.Module):
    """Convolutions at several dilations, and the mean of the image, side by side."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.one = nn.Sequential(conv_bn(inputs, width, 1), nn.ReLU())
        self.dilated = nn.ModuleList(
            nn.Sequential(conv_bn(inputs, width, 3, dilation=d), nn.ReLU()) for d in (2, 4)
        )
        self.pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(inputs, width, 1), nn.ReLU())
        self.project = nn.Sequential(conv_bn(4 * width, width, 1), nn.ReLU(), MCDropout2d(0.2))

    def forward(self, x: Tensor) -> Tensor:
        whole = F.interpolate(
            self.pooled(x), size=x.shape[-2:], mode="bilinear", align_corners=False
        )
        parts = [self.one(x), *(layer(x) for layer in self.dilated), whole]
        y: Tensor = self.project(torch.cat(parts, dim=1))
        return y


class DeepLab(nn.Module):
    """DeepLabV3: dilated features, and scores that are interpolated to the image's size."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            twice(1, 12), nn.MaxPool2d(2), conv_bn(12, 16, 3, dilation=2), nn.ReLU()
        )
        self.pyramid, self.last = ASPP(16, 12), nn.Conv2d(12, KINDS, 1)

    def forward(self, x: Tensor) -> Tensor:
        scores = self.last(self.pyramid(self.features(x)))
        return F.interpolate(scores, size=x.shape[-2:], mode="bilinear", align_corners=False)


class FeaturePyramid(nn.Module):
    """Lateral layers, and sums with what is upsampled from the level above."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = twice(1, 8), nn.Sequential(nn.MaxPool2d(2), twice(8, 16))
        self.three = nn.Sequential(nn.MaxPool2d(2), twice(16, 24))
        self.lateral = nn.ModuleList(nn.Conv2d(width, 12, 1) for width in (8, 16, 24))
        self.last = nn.Sequential(
            conv_bn(12, 12, 3), nn.ReLU(), MCDropout2d(0.1), nn.Conv2d(12, KINDS, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        one = self.one(x)
        two = self.two(one)
        three = self.lateral[2](self.three(two))
        joined = self.lateral[1](two) + F.interpolate(three, scale_factor=2, mode="nearest")
        joined = self.lateral[0](one) + F.interpolate(joined, scale_factor=2, mode="nearest")
        y: Tensor = self.last(joined)
        return y


class BayesianSegNet(nn.Module):
    """Maxima go back to where they came from; dropout in the middle of encoder and decoder."""

    def __init__(self) -> None:
        super().__init__()
        self.pool, self.unpool = nn.MaxPool2d(2, return_indices=True), nn.MaxUnpool2d(2)
        self.encode1 = nn.Sequential(conv_bn(1, 12, 3), nn.ReLU())
        self.encode2 = nn.Sequential(conv_bn(12, 16, 3), nn.ReLU())
        self.decode2 = nn.Sequential(conv_bn(16, 12, 3), nn.ReLU())
        self.decode1 = nn.Sequential(conv_bn(12, 12, 3), nn.ReLU(), nn.Conv2d(12, KINDS, 1))
        self.drop = MCDropout(0.2)

    def forward(self, x: Tensor) -> Tensor:
        pooled, first = self.pool(self.encode1(x))
        pooled, second = self.pool(self.encode2(pooled))
        made = self.decode2(self.unpool(self.drop(pooled), second))
        y: Tensor = self.decode1(self.unpool(self.drop(made), first))
        return y


class Depth(nn.Module):
    """An encoder and a decoder that give a mean and a log variance for each pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(twice(1, 8), nn.MaxPool2d(2), twice(8, 16), nn.MaxPool2d(2))
        self.middle = nn.Sequential(twice(16, 24), MCDropout2d(0.1))
        self.up = nn.Sequential(
            nn.Upsample(scale_factor=2, mode="nearest"), conv_bn(24, 12, 3), nn.ELU(),
            nn.Upsample(scale_factor=2, mode="nearest"), conv_bn(12, 8, 3), nn.ELU(),
        )  # fmt: skip
        self.mean, self.log_var = nn.Conv2d(8, 1, 3, padding=1), nn.Conv2d(8, 1, 3, padding=1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        made = self.up(self.middle(self.down(x)))
        return {"mean": self.mean(made), "log_var": self.log_var(made).clamp(-6, 3)}


class VAE(nn.Module):
    """A code is drawn from N(mu, sigma^2), and decoded; training sees mu and sigma too."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Sequential(nn.Linear(64, 48), nn.ReLU())
        self.mu, self.log_var = nn.Linear(48, 8), nn.Linear(48, 8)
        self.decode = nn.Sequential(nn.Linear(8, 48), nn.ReLU(), nn.Linear(48, 64), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor, Tensor]:
        hidden = self.encode(x)
        mu, sigma = self.mu(hidden), torch.exp(0.5 * self.log_var(hidden))
        made: Tensor = self.decode(mu + sigma * torch.randn_like(sigma))
        return (made, mu, sigma) if self.training else made


def autoencoder() -> nn.Module:
    """Denoising by dropout of the input, which stays on."""
    return nn.Sequential(
        MCDropout(0.1), nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 12), nn.Tanh(),
        nn.Linear(12, 32), nn.Tanh(), nn.Linear(32, 64), nn.Sigmoid(),
    )  # fmt: skip


NETWORKS = (
    Network("U-Net, bilinear", "ronneberger2015", lambda: UNet(bilinear=True), scenes, CLASSES, 8),
    Network(
        "U-Net, transposed", "ronneberger2015", lambda: UNet(bilinear=False), scenes, CLASSES, 8
    ),
    Network("FCN", "long2015", FCN, scenes, CLASSES, 10),
    Network("DeepLabV3", "chen2017", DeepLab, scenes, CLASSES, 10),
    Network("Feature pyramid", "lin2017", FeaturePyramid, scenes, CLASSES, 10),
    Network("Bayesian SegNet", "kendall2017b", BayesianSegNet, scenes, CLASSES, 10),
    Network("Depth with variance", "kendall2017", Depth, distances, GAUSSIAN, 12),
    Network("VAE", "kingma2014", VAE, reconstruction, EVIDENCE_BOUND, 30, posterior="drawn codes"),
    Network("Denoising autoencoder", "vincent2008", autoencoder, reconstruction, SQUARES, 30),
)
