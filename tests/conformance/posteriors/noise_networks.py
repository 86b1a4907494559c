"""Networks with noise on activations, each written as people write it."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, distributions, nn

Form = Callable[["Net", Tensor], Tensor]


class Net(nn.Module):
    """8 features to 2; the forms below share its layers, and `form` is forward."""

    def __init__(self, form: Form) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.form = form
        self.enter, self.middle, self.leave = nn.Linear(8, 24), nn.Linear(24, 24), nn.Linear(24, 2)
        self.scales = nn.Parameter(torch.linspace(0.1, 0.7, 24))
        self.mu = nn.Parameter(torch.randn(24, 24) / 5)
        self.sigma = nn.Parameter(torch.full((24, 24), 0.12))
        self.kernel = nn.Parameter(torch.randn(3, 1, 3, 3) / 3)
        self.pool = nn.Linear(3 * 2 * 4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.form(self, x)

    def hidden(self, x: Tensor) -> Tensor:
        return torch.relu(self.enter(x))

    def left(self, h: Tensor) -> Tensor:
        y: Tensor = self.leave(h)
        return y

    def last(self, h: Tensor) -> Tensor:
        return self.left(torch.relu(self.middle(h)))


def gaussian_dropout(m: Net, x: Tensor) -> Tensor:
    h = m.hidden(x)
    return m.last(h * (1 + 0.5 * torch.randn_like(h)))


def additive(m: Net, x: Tensor) -> Tensor:
    h = m.hidden(x)
    return m.last(h + m.scales * torch.randn_like(h))


def uniform(m: Net, x: Tensor) -> Tensor:
    h = m.hidden(x)
    return m.last(h + torch.empty_like(h).uniform_(-0.8, 1.2))


def one_a_row(m: Net, x: Tensor) -> Tensor:
    h = m.hidden(x)
    return m.last(h * torch.normal(1.0, 0.6, (len(x), 1)))


def output(m: Net, x: Tensor) -> Tensor:
    h = m.hidden(x)
    both = torch.cat([m.left(h), m.left(torch.tanh(m.middle(h)))], 1)
    return distributions.Normal(both[:, :2], F.softplus(both[:, 2:]) + 0.2).rsample()


def latent(m: Net, x: Tensor) -> Tensor:
    mean, logarithm = m.middle(m.hidden(x)).split(12, 1)
    z = mean + torch.exp(0.5 * logarithm) * torch.randn_like(mean)
    return m.left(torch.cat([torch.tanh(z), torch.relu(z)], 1))


def local(m: Net, x: Tensor) -> Tensor:
    h = m.hidden(x)
    mean, variance = F.linear(h, m.mu), F.linear(h**2, m.sigma**2)
    return m.left(torch.relu(mean + torch.sqrt(variance + 1e-16) * torch.randn_like(mean)))


def local_convolution(m: Net, x: Tensor) -> Tensor:
    image = x.view(-1, 1, 2, 4)
    mean = F.conv2d(image, m.kernel, padding=1)
    variance = F.conv2d(image**2, (0.5 * m.kernel) ** 2, padding=1)
    y: Tensor = m.pool((mean + torch.sqrt(variance + 1e-8) * torch.randn_like(mean)).flatten(1))
    return y


def concrete(m: Net, x: Tensor) -> Tensor:
    h, p, tiny = m.hidden(x), torch.tensor(0.3), 1e-7
    u = torch.rand_like(h)
    odds = torch.log(p + tiny) - torch.log(1 - p + tiny)
    drop = torch.sigmoid((odds + torch.log(u + tiny) - torch.log(1 - u + tiny)) / 0.1)
    return m.last(h * (1 - drop) / (1 - p))


def laplace(m: Net, x: Tensor) -> Tensor:
    h = m.hidden(x)
    return m.last(h + distributions.Laplace(0.0, 0.4).rsample(h.shape))


def exponential(m: Net, x: Tensor) -> Tensor:
    h = m.hidden(x)
    return m.last(h * torch.empty_like(h).exponential_(1.5))


def drop_block(m: Net, x: Tensor) -> Tensor:
    """DropBlock, normalised by the count of each row."""
    h = m.hidden(x).view(len(x), 1, 4, 6)
    kept = 1 - F.max_pool2d(torch.bernoulli(torch.full_like(h, 0.05)), 3, 1, 1)
    return m.last((h * kept * 24 / (kept.sum((1, 2, 3), keepdim=True) + 1)).flatten(1))


def two_masks_joined(m: Net, x: Tensor) -> Tensor:
    keep = [torch.bernoulli(torch.full((len(x), n), 0.8)) for n in (8, 16)]
    return m.last(m.hidden(x) * torch.cat(keep, dim=1))


def one_uniform_a_row(m: Net, x: Tensor) -> Tensor:
    return m.last(m.hidden(x) * torch.rand(len(x), 1).expand(-1, 24))


FORMS: dict[str, Form] = {
    "Gaussian dropout": gaussian_dropout,
    "additive, a scale for each channel": additive,
    "uniform": uniform,
    "one number a row": one_a_row,
    "noise of the output": output,
    "latent": latent,
    "local reparameterisation": local,
    "local reparameterisation of a convolution": local_convolution,
    "Concrete dropout": concrete,
    "Laplace": laplace,
    "exponential": exponential,
    "DropBlock": drop_block,
    "two masks joined": two_masks_joined,
    "one uniform number a row": one_uniform_a_row,
}
