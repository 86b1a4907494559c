"""Networks whose noise is easily misread, and the comparison of a compiled network with its module.

Each family has the network that was once compiled with another distribution, and variants of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qbnnc import compile
from qbnnc.frontend import Dropout
from qbnnc.ir.model import Model
from qbnnc.ir.types import Array
from qbnnc.runtime import load
from tests.frontend.nets import randomise_batch_norm

SAMPLES = 2000
X = torch.randn(256, 8, generator=torch.Generator().manual_seed(0))
ROWS = X[:4]


class Net(nn.Module):
    """Layers that the spellings below share; `law` is forward."""

    def __init__(self, law: Callable[[Net, Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.law = law
        self.enter, self.leave = nn.Linear(8, 24), nn.Linear(24, 2)
        self.a, self.b = nn.Linear(24, 24), nn.Linear(24, 24)
        self.conv, self.pool = nn.Conv1d(1, 6, 3, padding=1), nn.Linear(24, 2)
        self.wide = nn.Linear(48, 2)
        self.gamma = nn.Parameter(torch.tensor(-0.5))
        self.gammas = nn.Parameter(torch.linspace(-0.8, 0.6, 24))
        self.mu, self.sigma = nn.Parameter(torch.randn(2, 4)), nn.Parameter(torch.full((2, 4), 0.3))
        self.first, self.second = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
        randomise_batch_norm(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.law(self, x)

    def hidden(self, x: Tensor) -> Tensor:
        return torch.relu(self.enter(x))

    def sample(self) -> Tensor:
        return self.mu + self.sigma * torch.randn_like(self.mu)


Law: TypeAlias = Callable[[Net, Tensor], Tensor]


def applied(layer: nn.Module, x: Tensor) -> Tensor:
    y: Tensor = layer(x)
    return y


def coin(x: Tensor, *shape: int, p: float = 0.5) -> Tensor:
    return torch.bernoulli(torch.full((len(x), *shape), p))


def either_path(m: Net, x: Tensor) -> Tensor:
    h, keep = m.hidden(x), coin(x, 1)
    return applied(m.leave, torch.relu(m.a(h)) * keep + torch.relu(m.b(h)) * (1 - keep))


def either_path_compared(m: Net, x: Tensor) -> Tensor:
    h, u = m.hidden(x), torch.rand(len(x), 24)
    return applied(m.leave, torch.relu(m.a(h)) * (u < 0.5) + torch.relu(m.b(h)) * (u >= 0.5))


def either_path_where(m: Net, x: Tensor) -> Tensor:
    h, keep = m.hidden(x), torch.rand(len(x), 1) < 0.5
    return applied(m.leave, torch.where(keep, torch.relu(m.a(h)), torch.relu(m.b(h))))


def either_channel(m: Net, x: Tensor) -> Tensor:
    h = torch.relu(m.conv(x.unsqueeze(1)))
    keep = coin(x, 6, 1)
    return applied(m.wide, torch.cat([h * keep, h * (1 - keep)], 1)[:, 3:9].flatten(1))


def mask_twice(m: Net, x: Tensor) -> Tensor:
    keep = coin(x, 24)
    return applied(m.leave, torch.relu(m.a(m.hidden(x) * keep)) * (1 - keep) * 2)


def layer_scale(m: Net, x: Tensor) -> Tensor:
    h = m.hidden(x)
    return applied(m.leave, h + m.gamma * F.dropout(torch.relu(m.a(h)), 0.3, training=True))


def scale_by_channel(m: Net, x: Tensor) -> Tensor:
    h = m.hidden(x)
    return applied(m.leave, h + m.gammas * F.dropout(torch.relu(m.a(h)), 0.3, training=True))


def drop_path(m: Net, x: Tensor) -> Tensor:
    h = m.hidden(x)
    return applied(m.leave, h + torch.relu(m.a(h)) * m.gamma * coin(x, 1, p=0.7) / 0.7)


def negative_pool(m: Net, x: Tensor) -> Tensor:
    h = F.dropout1d(torch.relu(m.conv(x.unsqueeze(1))), 0.3, training=True)
    return applied(m.pool, F.max_pool1d(m.gamma * h, 2).flatten(1))


def pool_negated(m: Net, x: Tensor) -> Tensor:
    h = F.dropout(m.conv(x.unsqueeze(1)), 0.3, training=True)
    return applied(m.pool, (m.gamma * F.max_pool1d(h, 2)).flatten(1))


def negative_clamp(m: Net, x: Tensor) -> Tensor:
    return applied(m.leave, -2.0 * F.hardtanh(F.dropout(m.enter(x), 0.3, training=True), -0.4, 0.9))


def expanded_reshaped(m: Net, x: Tensor) -> Tensor:
    h = m.hidden(x)
    return applied(m.leave, h * coin(x, 1, p=0.7).expand_as(h).reshape(len(x), 24) / 0.7)


def expanded_flattened(m: Net, x: Tensor) -> Tensor:
    h = torch.relu(m.conv(x.unsqueeze(1)))
    return applied(m.wide, h.flatten(1) * coin(x, 6, 1, p=0.7).expand(-1, 6, 8).flatten(1) / 0.7)


def groups_of_features(m: Net, x: Tensor) -> Tensor:
    keep = coin(x, 8, p=0.6).unsqueeze(2).expand(-1, 8, 3).contiguous().view(-1, 24)
    return applied(m.leave, m.hidden(x) * keep / 0.6)


def repeated(m: Net, x: Tensor) -> Tensor:
    return applied(m.leave, m.hidden(x) * coin(x, 6, p=0.6).repeat_interleave(4, 1))


def siamese(m: Net, x: Tensor) -> Tensor:
    w = m.sample()
    return F.linear(x[:, :4], w) - F.linear(x[:, 4:], w)


def siamese_tripled(m: Net, x: Tensor) -> Tensor:
    w = m.sample()
    return F.linear(x[:, :4], w) + F.linear(x[:, 4:], -3 * w)


def tied_norms(m: Net, x: Tensor) -> Tensor:
    w = m.sample()
    one, two = m.first(F.linear(x[:, :4], w)), m.second(F.linear(x[:, 4:], w))
    total: Tensor = one - two
    return total


def shared_eps(m: Net, x: Tensor) -> Tensor:
    eps = torch.randn_like(m.mu)
    plus, minus = F.linear(x[:, :4], m.mu + m.sigma * eps), F.linear(x[:, 4:], m.mu - m.sigma * eps)
    return plus + minus


def siamese_conv(m: Net, x: Tensor) -> Tensor:
    w = m.conv.weight + 0.3 * torch.randn_like(m.conv.weight)
    h = x.unsqueeze(1)
    return applied(
        m.wide, (F.conv1d(h, w, padding=1) - F.conv1d(h.flip(2), w, padding=1)).flatten(1)
    )


LAWS: dict[str, Law] = {
    "either path": either_path,
    "either path, compared": either_path_compared,
    "either path, where": either_path_where,
    "either channel": either_channel,
    "mask and complement in a row": mask_twice,
    "negative layer scale": layer_scale,
    "scales of either sign": scale_by_channel,
    "drop path, negative": drop_path,
    "max pool of a negative": negative_pool,
    "max pool, negated": pool_negated,
    "clamp, negated": negative_clamp,
    "expanded and reshaped": expanded_reshaped,
    "expanded and flattened": expanded_flattened,
    "groups of features": groups_of_features,
    "siamese": siamese,
    "siamese, tripled": siamese_tripled,
    "norms of mixed sign": tied_norms,
    "shared eps": shared_eps,
    "siamese convolution": siamese_conv,
}


def compiled(
    net: nn.Module, path: str, task: str | None = None, dropout: Dropout | None = None
) -> Model:
    """The artefacts of w8a8 in the files `path`, .onnx and .qbnn; no range is clipped."""
    return compile(
        net, path, calibration=X.numpy(), bits="w8a8", task=task, dropout=dropout,
        calibration_passes=2, observer="minmax",
    )  # fmt: skip


def drawn(net: Callable[[Tensor], Tensor], rows: Tensor = ROWS) -> Array:
    """Samples of the module [samples, rows, outputs]."""
    torch.manual_seed(7)
    with torch.no_grad():
        return np.stack([net(rows).numpy() for _ in range(SAMPLES)])


def drawn_compiled(model: Model, rows: Tensor = ROWS, output: str = "samples") -> Array:
    return load(model).predict(rows.numpy(), samples=SAMPLES, seed=1)[output]


def assert_same_law(expected: Array, found: Array) -> None:
    """Means, deviations and the outputs' correlation: sampling error and that of 8 bits."""
    step = np.abs(expected).max() / 40
    spread, found_spread = expected.std(0), found.std(0)
    error = 5 * np.sqrt(2 / SAMPLES)
    off = np.abs(found.mean(0) - expected.mean(0))
    assert (off <= error * spread + step).all(), (expected.mean(0), found.mean(0))
    assert (np.abs(found_spread - spread) <= error * spread + step).all(), (spread, found_spread)
    for row in range(expected.shape[1]):
        pair, found_pair = np.cov(expected[:, row].T), np.cov(found[:, row].T)
        assert (np.abs(pair - found_pair) <= 0.25 * pair.trace() + step**2).all()
