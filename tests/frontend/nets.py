"""Networks as users write them: Bayesian ones, odd ones, and ones that are not supported."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Spelled(nn.Module):
    """A layer without parameters: any function of a tensor."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class Around(nn.Module):
    """6 features to 2, a layer given from outside in the middle."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.first = nn.Linear(6, 6)
        self.layer = layer
        self.last = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(self.layer(F.relu(self.first(x))))
        return y


class Net(nn.Module):
    """Dropout by nn.Dropout: switched off by eval()."""

    def __init__(self, features: int = 6, p: float = 0.25) -> None:
        super().__init__()
        self.fc1 = nn.Linear(features, 8)
        self.drop = nn.Dropout(p)
        self.fc2 = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fc2(self.drop(F.relu(self.fc1(x))))
        return y


class SelfMadeDropout(nn.Module):
    """Leaves no trace in the program while it is switched off."""

    def forward(self, x: Tensor) -> Tensor:
        return x * (torch.rand_like(x) > 0.25) / 0.75 if self.training else x


class Normalised(nn.Module):
    """Raw pixels, uint8 or float32: the preprocessing is in the network."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.3, 0.5]).reshape(2, 1, 1))
        self.register_buffer("std", torch.tensor([0.2, 0.25]).reshape(1, 2, 1, 1))
        self.conv = nn.Conv2d(2, 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv((x.float() / 255 - self.mean) / self.std)
        return y.flatten(1)


class SampledLinear(nn.Module):
    """Bayes by Backprop."""

    def __init__(self, features: int, out: int) -> None:
        super().__init__()
        self.mu = nn.Parameter(torch.zeros(out, features))
        self.rho = nn.Parameter(torch.full((out, features), -3.0))

    def forward(self, x: Tensor) -> Tensor:
        sigma = F.softplus(self.rho)
        return F.linear(x, self.mu + sigma * torch.randn_like(sigma))


class WithKL(nn.Module):
    """The prediction, and a term of the loss that does not depend on the input."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.fc(x), self.fc.weight.square().sum() * torch.randn(())


class KeepsState(nn.Module):
    """Changes itself whenever it runs."""

    calls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))
        self.fc = nn.Linear(6, 2)
        self.seen = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.seen += 1
        y: Tensor = self.fc(x)
        return y


def numpy_noise(x: Tensor) -> Tensor:
    return x * torch.from_numpy(np.random.default_rng().random(6) > 0.5).float()


def image_block() -> nn.Sequential:
    """Every layer an image classifier is made of, [2, 8, 8] to log probabilities of 3."""
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding="same", bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU6(),
        nn.MaxPool2d(3, 2, 1),
        nn.Conv2d(4, 4, 3, stride=2, padding=1, groups=2),
        nn.Hardtanh(-0.5, 0.75),
        nn.AvgPool2d(2, 1, 1, count_include_pad=False),
        nn.ZeroPad2d((1, 0, 2, 0)),
        nn.Conv2d(4, 6, (2, 3), dilation=(1, 1)),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 3),
        nn.LogSoftmax(1),
    )


def randomise_batch_norm(module: nn.Module) -> None:
    """Running statistics as after training."""
    for child in module.modules():
        if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
            assert child.running_mean is not None
            assert child.running_var is not None
            nn.init.uniform_(child.running_mean, -0.5, 0.5)
            nn.init.uniform_(child.running_var, 0.5, 2.0)
            nn.init.uniform_(child.weight, -1.0, 2.0)
