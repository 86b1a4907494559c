"""A U-Net that predicts the mean and the log variance of each pixel, with dropout of channels."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tools.models.dropout import MCDropout2d


class UNet_MCD(nn.Module):
    """A U-Net (Ronneberger et al. 2015) of three levels, whose skips are concatenated.

    Args of `forward`:
        x: (N, 1, H, W) float32; H and W are multiples of 4.

    Returns:
        Mean and log variance of each pixel, each (N, 1, H, W) float32.
    """

    def __init__(self, p: float = 0.1, width: int = 12) -> None:
        super().__init__()
        self.enter1 = double_convolution(1, width, p)
        self.enter2 = double_convolution(width, 2 * width, p)
        self.bottom = double_convolution(2 * width, 4 * width, p)
        self.leave2 = double_convolution(6 * width, 2 * width, p)
        self.leave1 = double_convolution(3 * width, width, p)
        self.mu = nn.Conv2d(width, 1, 1)
        self.log_var = nn.Conv2d(width, 1, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        wide = self.enter1(x)
        half = self.enter2(F.max_pool2d(wide, 2))
        quarter = self.bottom(F.max_pool2d(half, 2))
        half = self.leave2(torch.cat([upsampled(quarter), half], 1))
        wide = self.leave1(torch.cat([upsampled(half), wide], 1))
        return self.mu(wide), self.log_var(wide)


def double_convolution(entering: int, leaving: int, p: float) -> nn.Module:
    """Two 3x3 convolutions with batch normalisation and ReLU, and dropout."""
    layers: list[nn.Module] = []
    for channels in (entering, leaving):
        layers += [nn.Conv2d(channels, leaving, 3, 1, 1, bias=False), nn.BatchNorm2d(leaving)]
        layers.append(nn.ReLU())
    return nn.Sequential(*layers, MCDropout2d(p))


def upsampled(x: Tensor) -> Tensor:
    """Twice the height and width, by the nearest pixel."""
    return F.interpolate(x, scale_factor=2.0, mode="nearest")
