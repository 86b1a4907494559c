"""The networks of the study: MLP 3x100 and LeNet-5, pointwise and with their two kinds of noise.

Plain PyTorch, as a user of qbnnc would write it; nothing here knows of the compiler. From this
folder: `qbnnc compile lenet_mcd.pt --model models:LeNet5_MCD ...`.

`*_MCD` keeps dropout on when it predicts (Gal and Ghahramani 2016): masks for each channel after a
convolution, for each element after a linear layer. `*_BBB` has Gaussian weights (Blundell et al.
2015): in training the local reparameterisation (Kingma et al. 2015), in evaluation one sample of
the weights a call, shared by the batch; its biases are points. An SGHMC posterior is a list of
state_dicts of the pointwise class.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TINY = 1e-8  # keeps the gradient of the square root finite where the input is all zero


class MCDropout(nn.Module):
    """Dropout of single values, also in eval mode."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.p, training=True)


class MCDropout2d(nn.Module):
    """Dropout of whole channels, also in eval mode: one draw for each (image, channel)."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout2d(x, self.p, training=True)


class BBBLayer(nn.Module):
    """What Gaussian layers share: weights N(mu, softplus(rho)^2), biases that are points.

    Args:
        shape: of the weights, the outputs first.
        sigma: standard deviation that every weight starts with.
    """

    def __init__(self, shape: tuple[int, ...], sigma: float) -> None:
        super().__init__()
        bound = 1 / math.sqrt(math.prod(shape[1:]))
        self.weight_mu = nn.Parameter(torch.empty(shape).uniform_(-bound, bound))
        self.weight_rho = nn.Parameter(torch.full(shape, math.log(math.expm1(sigma))))
        self.bias = nn.Parameter(torch.empty(shape[0]).uniform_(-bound, bound))

    def sigma(self) -> Tensor:
        return F.softplus(self.weight_rho)

    def sampled(self) -> Tensor:
        sigma = self.sigma()
        return self.weight_mu + sigma * torch.randn_like(sigma)


class BBBLinear(BBBLayer):
    """Linear layer with Gaussian weights."""

    def __init__(self, in_features: int, out_features: int, sigma: float) -> None:
        super().__init__((out_features, in_features), sigma)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return F.linear(x, self.sampled(), self.bias)
        std = torch.sqrt(F.linear(x**2, self.sigma() ** 2) + TINY)
        return F.linear(x, self.weight_mu, self.bias) + std * torch.randn_like(std)


class BBBConv2d(BBBLayer):
    """Convolution with Gaussian weights, stride 1, no padding."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, sigma: float) -> None:
        super().__init__((out_channels, in_channels, kernel, kernel), sigma)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return F.conv2d(x, self.sampled(), self.bias)
        std = torch.sqrt(F.conv2d(x**2, self.sigma() ** 2) + TINY)
        return F.conv2d(x, self.weight_mu, self.bias) + std * torch.randn_like(std)


class MLP(nn.Module):
    """Regression with three hidden layers.

    Args of `forward`:
        x: (N, in_features) float32, standardised.

    Returns:
        Mean and log variance of the target, each (N, 1) float32, in standardised units.
    """

    def __init__(self, in_features: int, hidden: int = 100) -> None:
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

    def __init__(self, in_features: int, hidden: int = 100, p: float = 0.1) -> None:
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

    def __init__(self, in_features: int, hidden: int = 100, sigma: float = 0.05) -> None:
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


class LeNet5(nn.Module):
    """LeNet-5 (20-50-500).

    Args of `forward`:
        x: (N, 1, 28, 28) float32, pixels 0..1.

    Returns:
        (N, classes) float32 logits.
    """

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 20, 5)
        self.conv2 = nn.Conv2d(20, 50, 5)
        self.fc1 = nn.Linear(800, 500)
        self.fc2 = nn.Linear(500, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = torch.flatten(x, 1)
        x = F.relu(self.fc1(x))
        return self.fc2(x)


class LeNet5_MCD(nn.Module):
    """`LeNet5` with Monte-Carlo dropout after every hidden layer: same argument, same result."""

    def __init__(self, num_classes: int = 10, p: float = 0.2) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 20, 5)
        self.drop1 = MCDropout2d(p)
        self.conv2 = nn.Conv2d(20, 50, 5)
        self.drop2 = MCDropout2d(p)
        self.fc1 = nn.Linear(800, 500)
        self.drop3 = MCDropout(p)
        self.fc2 = nn.Linear(500, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.drop1(F.max_pool2d(F.relu(self.conv1(x)), 2))
        x = self.drop2(F.max_pool2d(F.relu(self.conv2(x)), 2))
        x = torch.flatten(x, 1)
        x = self.drop3(F.relu(self.fc1(x)))
        return self.fc2(x)


class LeNet5_BBB(nn.Module):
    """`LeNet5` with Gaussian weights in every layer: same argument, same result."""

    def __init__(self, num_classes: int = 10, sigma: float = 0.01) -> None:
        super().__init__()
        self.conv1 = BBBConv2d(1, 20, 5, sigma)
        self.conv2 = BBBConv2d(20, 50, 5, sigma)
        self.fc1 = BBBLinear(800, 500, sigma)
        self.fc2 = BBBLinear(500, num_classes, sigma)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = torch.flatten(x, 1)
        x = F.relu(self.fc1(x))
        return self.fc2(x)
