"""Networks whose weights have correlated noise, each written as people write it."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

N, K, RANK = 3, 16, 5


class Net(nn.Module):
    """Parameters that the forms below share; `form` is forward after the first layer."""

    def __init__(self, form: Callable[[Net, Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.form = form
        self.enter, self.leave = nn.Linear(8, K), nn.Linear(K, N)
        self.a, self.b = (
            nn.Parameter(torch.randn(N, N) * 0.4),
            nn.Parameter(torch.randn(K, K) * 0.1),
        )
        self.slopes = nn.Parameter(torch.randn(RANK, N, K) * 0.06)
        self.of_bias = nn.Parameter(torch.randn(RANK, N) * 0.1)
        self.sigma = nn.Parameter(torch.rand(N, K) * 0.05)
        count = N * K + N
        self.theta = nn.Parameter(
            torch.cat([self.leave.weight.detach().flatten(), self.leave.bias])
        )
        scale = torch.randn(count, count) * 0.02 + torch.diag(torch.rand(count) * 0.08)
        self.cholesky = nn.Parameter(torch.tril(scale))
        self.first = nn.Parameter(
            torch.cat([self.enter.weight.detach().flatten(), self.enter.bias])
        )
        self.deviations = nn.Parameter(torch.randn(RANK, len(self.first) + count) * 0.05)
        self.scales = nn.Parameter(torch.rand(len(self.first) + count) * 0.05)
        self.conv = nn.Conv2d(1, 4, 3, stride=2, padding=1)
        self.read = nn.Linear(4 * 2 * 1, N)
        self.inner, self.outer = nn.Parameter(torch.randn(9, 9) * 0.2), torch.randn(4, 4) * 0.3
        self.kernels = nn.Parameter(torch.randn(RANK, 4, 1, 3, 3) * 0.1)

    def forward(self, x: Tensor) -> Tensor:
        return self.form(self, x)

    def hidden(self, x: Tensor) -> Tensor:
        return torch.relu(self.enter(x))


def low_rank(m: Net, x: Tensor) -> Tensor:
    z = torch.randn(RANK)
    weight = m.leave.weight + m.sigma * torch.randn(N, K) + torch.einsum("r,rnk->nk", z, m.slopes)
    return F.linear(m.hidden(x), weight, m.leave.bias + z @ m.of_bias)


def low_rank_alone(m: Net, x: Tensor) -> Tensor:
    return F.linear(m.hidden(x), m.leave.weight + torch.tensordot(torch.randn(RANK), m.slopes, 1))


def full_covariance(m: Net, x: Tensor) -> Tensor:
    theta = m.theta + m.cholesky @ torch.randn(len(m.theta))
    return F.linear(m.hidden(x), theta[: N * K].view(N, K), theta[N * K :])


def swag(m: Net, x: Tensor) -> Tensor:
    """One z for all layers, and a diagonal."""
    mean = torch.cat([m.first, m.theta])
    theta = mean + m.scales * torch.randn(len(mean)) / 2**0.5
    theta = theta + torch.randn(RANK) @ m.deviations / (2 * (RANK - 1)) ** 0.5
    first, last = theta[: len(m.first)], theta[len(m.first) :]
    h = torch.relu(F.linear(x, first[: 8 * K].view(K, 8), first[8 * K :]))
    return F.linear(h, last[: N * K].view(N, K), last[N * K :])


def rows_apart(m: Net, x: Tensor) -> Tensor:
    """A full covariance for each row of the weight."""
    factors = m.b.tril() * (1 + torch.arange(N)[:, None, None])
    noise = torch.einsum("nkj,nj->nk", factors, torch.randn(N, K))
    return F.linear(m.hidden(x), m.leave.weight + 0.5 * noise, m.leave.bias)


def kronecker(m: Net, x: Tensor) -> Tensor:
    weight = m.leave.weight + m.a @ torch.randn(N, K) @ m.b
    return F.linear(m.hidden(x), weight, m.leave.bias)


def kronecker_of_inputs(m: Net, x: Tensor) -> Tensor:
    return F.linear(m.hidden(x), m.leave.weight + torch.randn(N, K) @ m.b * 0.5, m.leave.bias)


def eigenbasis(m: Net, x: Tensor) -> Tensor:
    """A Laplace approximation by Kronecker factors, with the bias as another input."""
    left = torch.linalg.eigh(m.a @ m.a.T)
    h = torch.cat([m.b, m.b[:1]]) @ torch.cat([m.b, m.b[:1]]).T
    right = torch.linalg.eigh(h)
    scale = (30 * torch.outer(left[0].clamp_min(0), right[0].clamp_min(0)) + 8).rsqrt()
    noise = left[1] @ (scale * torch.randn(N, K + 1)) @ right[1].T
    weight = torch.cat([m.leave.weight, m.leave.bias[:, None]], 1) + 0.3 * noise
    return F.linear(m.hidden(x), weight[:, :-1], weight[:, -1])


def convolution(m: Net, x: Tensor) -> Tensor:
    noise = (m.outer @ torch.randn(4, 9) @ m.inner).view(4, 1, 3, 3)
    h = F.conv2d(x.view(-1, 1, 4, 2), m.conv.weight + noise, m.conv.bias, 2, 1)
    y: Tensor = m.read(torch.relu(h).flatten(1))
    return y


def low_rank_convolution(m: Net, x: Tensor) -> Tensor:
    noise = torch.einsum("r,roihw->oihw", torch.randn(RANK), m.kernels)
    h = F.conv2d(x.view(-1, 1, 4, 2), m.conv.weight + noise, m.conv.bias, 2, 1)
    y: Tensor = m.read(torch.relu(h).flatten(1))
    return y


def sum_of_two(m: Net, x: Tensor) -> Tensor:
    noise = m.sigma * torch.randn(N, K) + 0.1 * torch.randn(N, 1)
    return F.linear(m.hidden(x), m.leave.weight + noise, m.leave.bias)


def joined(m: Net, x: Tensor) -> Tensor:
    """Rows of one layer are drawn one by one, and some of the noise is used again."""
    rows = [torch.randn(1, K) for _ in range(N)]
    weight = m.leave.weight + 3 * m.sigma * torch.cat(rows)
    bias = m.leave.bias + 0.3 * rows[1][0, :N]
    return F.linear(m.hidden(x), weight, bias)


def flat(m: Net, x: Tensor) -> Tensor:
    """One noise vector, sliced into all parameters."""
    theta = torch.cat([m.first, m.theta])
    theta = theta + 1.5 * m.scales * torch.randn(len(theta))
    first, last = theta[: len(m.first)], theta[len(m.first) :]
    h = torch.relu(F.linear(x, first[: 8 * K].view(K, 8), first[8 * K :]))
    return F.linear(h, last[: N * K].view(N, K), last[N * K :])


def rank_one(m: Net, x: Tensor) -> Tensor:
    """Vectors around a layer with constant weights (BatchEnsemble, rank-1 BNNs)."""
    r, s = 1 + 0.3 * torch.randn(K), 1 + m.of_bias[0] * 2 * torch.randn(N)
    y: Tensor = m.leave(m.hidden(x) * r) * s + 0.1 * torch.randn(N)
    return y


def channels(m: Net, x: Tensor) -> Tensor:
    h = m.conv(x.view(-1, 1, 4, 2))
    h = h * (1 + 0.3 * torch.randn(1, 4, 1, 1)) + m.of_bias[1, :1] * torch.randn(4, 1, 1)
    y: Tensor = m.read(torch.relu(h).flatten(1))
    return y


FORMS: dict[str, Callable[[Net, Tensor], Tensor]] = {
    "low rank and diagonal": low_rank,
    "low rank": low_rank_alone,
    "full covariance": full_covariance,
    "swag": swag,
    "rows apart": rows_apart,
    "kronecker": kronecker,
    "kronecker of inputs": kronecker_of_inputs,
    "eigenbasis": eigenbasis,
    "convolution": convolution,
    "low rank convolution": low_rank_convolution,
    "sum of two": sum_of_two,
    "joined": joined,
    "flat": flat,
    "rank one": rank_one,
    "channels": channels,
}
