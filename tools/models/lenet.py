"""LeNet for 28 x 28 images, pointwise and with two kinds of noise."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tools.models.dropout import MCDropout, MCDropout2d
from tools.models.gaussian import BBBConv2d, BBBLinear

Widths = tuple[int, int, int]

SMALL: Widths = (8, 16, 64)
LENET5: Widths = (20, 50, 500)


class LeNet(nn.Module):
    """Two convolutions and two linear layers.

    Args:
        num_classes: how many logits there are.
        widths: channels of the convolutions, and features of the hidden linear layer.

    Args of `forward`:
        x: (N, 1, 28, 28) float32, pixels 0..1.

    Returns:
        (N, num_classes) float32 logits.
    """

    def __init__(self, num_classes: int = 10, widths: Widths = SMALL) -> None:
        super().__init__()
        first, second, hidden = widths
        self.conv1 = nn.Conv2d(1, first, 5)
        self.conv2 = nn.Conv2d(first, second, 5)
        self.fc1 = nn.Linear(16 * second, hidden)
        self.fc2 = nn.Linear(hidden, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = torch.flatten(x, 1)
        x = F.relu(self.fc1(x))
        return self.fc2(x)


class LeNet_MCD(nn.Module):
    """`LeNet` with Monte-Carlo dropout after every hidden layer.

    Args:
        num_classes, widths: as in `LeNet`.
        p: the probability that a channel, or an element, is dropped.
        pixel_range: the network divides its input by this number, so that it takes raw pixels
            0..255, uint8 or float32. 1 is for pixels that are scaled already.
    """

    def __init__(
        self,
        num_classes: int = 10,
        p: float = 0.2,
        widths: Widths = SMALL,
        pixel_range: float = 255,
    ) -> None:
        super().__init__()
        first, second, hidden = widths
        self.pixel_range = pixel_range
        self.conv1 = nn.Conv2d(1, first, 5)
        self.drop1 = MCDropout2d(p)
        self.conv2 = nn.Conv2d(first, second, 5)
        self.drop2 = MCDropout2d(p)
        self.fc1 = nn.Linear(16 * second, hidden)
        self.drop3 = MCDropout(p)
        self.fc2 = nn.Linear(hidden, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        if self.pixel_range != 1:
            x = x / self.pixel_range
        x = self.drop1(F.max_pool2d(F.relu(self.conv1(x)), 2))
        x = self.drop2(F.max_pool2d(F.relu(self.conv2(x)), 2))
        x = torch.flatten(x, 1)
        x = self.drop3(F.relu(self.fc1(x)))
        return self.fc2(x)


class LeNet_BBB(nn.Module):
    """`LeNet` with Gaussian weights in every layer; they start with `sigma`."""

    def __init__(self, num_classes: int = 10, sigma: float = 0.01, widths: Widths = SMALL) -> None:
        super().__init__()
        first, second, hidden = widths
        self.conv1 = BBBConv2d(1, first, 5, sigma)
        self.conv2 = BBBConv2d(first, second, 5, sigma)
        self.fc1 = BBBLinear(16 * second, hidden, sigma)
        self.fc2 = BBBLinear(hidden, num_classes, sigma)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = torch.flatten(x, 1)
        x = F.relu(self.fc1(x))
        return self.fc2(x)
