"""The networks of the demo and of the tests, written as any user of PyTorch would write them.

Nothing here knows of qbnnc. A `*_MCD` class keeps its dropout on when it predicts (Monte-Carlo
dropout, Gal and Ghahramani 2016): every call draws new masks, and the spread of the answers over
many calls says how sure the network is. The class without the suffix is its pointwise twin.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class MCDropout(nn.Module):
    """Dropout of single values, also in eval mode."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.p, training=True)


class MCDropout2d(nn.Module):
    """Dropout of whole channels, also in eval mode: one draw per (image, channel)."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout2d(x, self.p, training=True)


class LeNet_MCD(nn.Module):
    """LeNet-5 (8-16-64) with Monte-Carlo dropout: images to logits.

    Args of `forward`:
        x: (N, 1, 28, 28), raw pixels 0..255, uint8 or float32; scaled by the model itself.

    Returns:
        (N, classes) float32 logits.
    """

    def __init__(self, num_classes: int = 10, p: float = 0.2) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 5)
        self.drop1 = MCDropout2d(p)
        self.conv2 = nn.Conv2d(8, 16, 5)
        self.drop2 = MCDropout2d(p)
        self.fc1 = nn.Linear(256, 64)
        self.drop3 = MCDropout(p)
        self.fc2 = nn.Linear(64, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = x / 255
        x = self.drop1(F.max_pool2d(F.relu(self.conv1(x)), 2))
        x = self.drop2(F.max_pool2d(F.relu(self.conv2(x)), 2))
        x = torch.flatten(x, 1)
        x = self.drop3(F.relu(self.fc1(x)))
        return self.fc2(x)


class LeNet(nn.Module):
    """The pointwise twin of `LeNet_MCD`; takes pixels that are already scaled to 0..1.

    Args of `forward`:
        x: (N, 1, 28, 28) float32, 0..1.

    Returns:
        (N, classes) float32 logits.
    """

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 5)
        self.conv2 = nn.Conv2d(8, 16, 5)
        self.fc1 = nn.Linear(256, 64)
        self.fc2 = nn.Linear(64, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = torch.flatten(x, 1)
        x = F.relu(self.fc1(x))
        return self.fc2(x)


class MLP_MCD(nn.Module):
    """Regression with three hidden layers and Monte-Carlo dropout.

    Args of `forward`:
        x: (N, in_features) float32, standardised.

    Returns:
        Mean and log variance of the target, each (N, 1) float32, in standardised units.
    """

    def __init__(self, in_features: int, hidden: int = 50, p: float = 0.1) -> None:
        super().__init__()
        self.fc1 = nn.Linear(in_features, hidden)
        self.drop1 = MCDropout(p)
        self.fc2 = nn.Linear(hidden, hidden)
        self.drop2 = MCDropout(p)
        self.fc3 = nn.Linear(hidden, hidden)
        self.drop3 = MCDropout(p)
        self.mu = nn.Linear(hidden, 1)
        self.log_var = nn.Linear(hidden, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.drop1(F.relu(self.fc1(x)))
        x = self.drop2(F.relu(self.fc2(x)))
        x = self.drop3(F.relu(self.fc3(x)))
        return self.mu(x), self.log_var(x)


class MLP(nn.Module):
    """The pointwise twin of `MLP_MCD`: the same argument, the same two results."""

    def __init__(self, in_features: int, hidden: int = 50) -> None:
        super().__init__()
        self.fc1 = nn.Linear(in_features, hidden)
        self.fc2 = nn.Linear(hidden, hidden)
        self.fc3 = nn.Linear(hidden, hidden)
        self.mu = nn.Linear(hidden, 1)
        self.log_var = nn.Linear(hidden, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        x = F.relu(self.fc3(x))
        return self.mu(x), self.log_var(x)
