"""A convolutional network for 8 x 8 images with Gaussian weights."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tools.models.gaussian import BBBConv2d, BBBLinear


class ConvNet_BBB(nn.Module):
    """Three convolutions and two linear layers; all weights are Gaussian and start with `sigma`.

    Args of `forward`:
        x: (N, 1, 8, 8) float32, pixels 0..1.

    Returns:
        (N, 10) float32 logits.
    """

    def __init__(self, sigma: float = 0.02) -> None:
        super().__init__()
        self.conv1 = BBBConv2d(1, 16, 3, sigma, padding=1)
        self.conv2 = BBBConv2d(16, 32, 3, sigma, padding=1)
        self.conv3 = BBBConv2d(32, 32, 3, sigma, padding=1)
        self.fc1 = BBBLinear(128, 64, sigma)
        self.fc2 = BBBLinear(64, 10, sigma)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.conv1(x))
        x = F.max_pool2d(torch.relu(self.conv2(x)), 2)
        x = F.max_pool2d(torch.relu(self.conv3(x)), 2)
        x = torch.relu(self.fc1(torch.flatten(x, 1)))
        logits: Tensor = self.fc2(x)
        return logits
