"""A regression network with three hidden layers, pointwise and with two kinds of noise."""

import torch.nn.functional as F
from torch import Tensor, nn

from tools.models.dropout import MCDropout
from tools.models.gaussian import BBBLinear


class MLP(nn.Module):
    """Regression with three hidden layers.

    Args of `forward`:
        x: (N, in_features) float32, standardised.

    Returns:
        Mean and log variance of the target, each (N, 1) float32, in standardised units.
    """

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


class MLP_MCD(nn.Module):
    """`MLP` with Monte-Carlo dropout after every hidden layer: same argument, same results."""

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


class MLP_BBB(nn.Module):
    """`MLP` with Gaussian weights in every layer: same argument, same results."""

    def __init__(self, in_features: int, hidden: int = 50, sigma: float = 0.05) -> None:
        super().__init__()
        self.fc1 = BBBLinear(in_features, hidden, sigma)
        self.fc2 = BBBLinear(hidden, hidden, sigma)
        self.fc3 = BBBLinear(hidden, hidden, sigma)
        self.mu = BBBLinear(hidden, 1, sigma)
        self.log_var = BBBLinear(hidden, 1, sigma)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        x = F.relu(self.fc3(x))
        return self.mu(x), self.log_var(x)
