"""Networks that choose constants, and that drop weights, each written as people write it."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

COUNT = 5  # of the members to choose from
HIDDEN, OUTPUTS = 16, 3


class Net(nn.Module):
    """Parameters that the forms below share; `form` is forward."""

    masks: Tensor

    def __init__(self, form: Callable[[Net, Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.form = form
        self.enter, self.leave = nn.Linear(8, HIDDEN), nn.Linear(HIDDEN, OUTPUTS)
        self.heads = nn.Parameter(torch.randn(COUNT, OUTPUTS, HIDDEN) * 0.3)
        self.biases = nn.Parameter(torch.randn(COUNT, OUTPUTS) * 0.3)
        self.r, self.s = (nn.Parameter(1 + 0.4 * torch.randn(COUNT, n)) for n in (8, HIDDEN))
        self.shifts = nn.Parameter(torch.randn(COUNT, HIDDEN) * 0.3)
        self.register_buffer("masks", (torch.rand(COUNT, HIDDEN) > 0.4).float())
        self.rho = nn.Parameter(torch.randn(HIDDEN, 8) * 0.3 - 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.form(self, x)

    def hidden(self, x: Tensor) -> Tensor:
        return torch.relu(self.enter(x))

    def after(self, weight: Tensor, x: Tensor) -> Tensor:
        """The network with another first weight."""
        y: Tensor = self.leave(torch.relu(F.linear(x, weight, self.enter.bias)))
        return y

    def gaussian(self) -> Tensor:
        return self.enter.weight + F.softplus(self.rho) * torch.randn_like(self.rho)


def snapshots(m: Net, x: Tensor) -> Tensor:
    i = torch.randint(COUNT, (1,))
    return F.linear(m.hidden(x), m.heads[i][0], m.biases[i][0])


def snapshots_by_item(m: Net, x: Tensor) -> Tensor:
    i = cast(int, torch.randint(COUNT, ()).item())
    return F.linear(m.hidden(x), m.heads[i], m.biases[i])


def snapshots_by_product(m: Net, x: Tensor) -> Tensor:
    i = torch.randint(COUNT, ())
    return m.hidden(x) @ m.heads[i].t() + m.biases[i]


def snapshots_by_embedding(m: Net, x: Tensor) -> Tensor:
    i = torch.multinomial(torch.ones(COUNT), 1)
    weight = F.embedding(i, m.heads.view(COUNT, -1)).view(OUTPUTS, HIDDEN)
    return F.linear(m.hidden(x), weight, torch.index_select(m.biases, 0, i).squeeze(0))


def batch_ensemble(m: Net, x: Tensor) -> Tensor:
    i = torch.randint(0, COUNT, (1,))
    y: Tensor = m.leave(torch.relu(F.linear(x * m.r[i], m.enter.weight) * m.s[i] + m.shifts[i]))
    return y


def batch_ensemble_of_weights(m: Net, x: Tensor) -> Tensor:
    i = torch.randint(0, COUNT, ())
    weight = m.enter.weight * torch.outer(m.s[i], m.r[i])
    y: Tensor = m.leave(torch.relu(F.linear(x, weight, m.shifts[i])))
    return y


def masksembles(m: Net, x: Tensor) -> Tensor:
    """A mask for each row of the batch."""
    y: Tensor = m.leave(m.hidden(x) * m.masks[torch.randint(COUNT, (len(x),))])
    return y


def masksembles_of_the_batch(m: Net, x: Tensor) -> Tensor:
    chosen = F.one_hot(torch.randint(COUNT, (1,)), COUNT).float() @ m.masks
    y: Tensor = m.leave(m.hidden(x) * chosen)
    return y


def shifts_by_row(m: Net, x: Tensor) -> Tensor:
    y: Tensor = m.leave(m.hidden(x) + m.shifts[torch.randint(COUNT, (x.shape[0],))])
    return y


def batch_norm(m: Net, x: Tensor) -> Tensor:
    """One of several recorded statistics of batches (MC-BatchNorm)."""
    i = torch.randint(COUNT, ())
    h = F.batch_norm(m.enter(x), m.shifts[i], m.s[i] ** 2 + 0.3)
    y: Tensor = m.leave(torch.relu(h))
    return y


def drop_connect(m: Net, x: Tensor) -> Tensor:
    return m.after(F.dropout(m.enter.weight, 0.3, training=True), x)


def drop_connect_by_bernoulli(m: Net, x: Tensor) -> Tensor:
    return m.after(m.enter.weight * torch.bernoulli(torch.full_like(m.enter.weight, 0.7)) / 0.7, x)


def drop_connect_by_where(m: Net, x: Tensor) -> Tensor:
    keep = torch.rand_like(m.enter.weight) < 0.7
    return m.after(torch.where(keep, m.enter.weight, torch.zeros(())), x)


def dropped_rows(m: Net, x: Tensor) -> Tensor:
    return m.after(m.enter.weight * (torch.rand(HIDDEN, 1) > 0.2), x)


def dropped_and_transposed(m: Net, x: Tensor) -> Tensor:
    kept = m.enter.weight.t() * torch.bernoulli(torch.full((8, HIDDEN), 0.6))
    y: Tensor = m.leave(torch.relu(x @ kept))
    return y


def spike_and_slab(m: Net, x: Tensor) -> Tensor:
    weight = m.gaussian()
    return m.after(weight * torch.bernoulli(torch.full_like(weight, 0.6)), x)


def dropped_bias(m: Net, x: Tensor) -> Tensor:
    weight, bias = (F.dropout(p, 0.3, training=True) for p in (m.enter.weight, m.enter.bias))
    y: Tensor = m.leave(torch.relu(F.linear(x, weight, bias)))
    return y


def a_mask_and_its_complement(m: Net, x: Tensor) -> Tensor:
    keep = torch.bernoulli(torch.full_like(m.enter.weight, 0.5))
    halves = (F.linear(x, m.enter.weight * each) for each in (keep, 1 - keep))
    y: Tensor = m.leave(sum((torch.relu(half) for half in halves), torch.zeros(())))
    return y


class DropConnect(nn.Module):
    """A parametrisation that drops elements of a weight."""

    def forward(self, weight: Tensor) -> Tensor:
        return F.dropout(weight, 0.25, training=True)


def parametrised() -> nn.Module:
    torch.manual_seed(5)
    net = nn.Sequential(nn.Linear(8, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, OUTPUTS))
    parametrize.register_parametrization(net[0], "weight", DropConnect())
    return net


class Convolution(nn.Module):
    """A kernel of which a mask drops elements, with a normalisation behind it, and a choice."""

    example = (2, 6, 6)

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(6)
        self.conv, self.bn, self.leave = nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Linear(64, 3)
        self.scales = nn.Parameter(1 + 0.3 * torch.randn(COUNT, 4))
        self.bn.running_mean = torch.randn(4)

    def forward(self, x: Tensor) -> Tensor:
        kernel = F.dropout(self.conv.weight, 0.3, training=True)
        h = self.bn(F.conv2d(x, kernel, self.conv.bias))
        h = h * self.scales[torch.randint(COUNT, (1,))].view(1, -1, 1, 1)
        y: Tensor = self.leave(torch.relu(h).flatten(1))
        return y


_WRITTEN: tuple[Callable[[Net, Tensor], Tensor], ...] = (
    snapshots,
    snapshots_by_item,
    snapshots_by_product,
    snapshots_by_embedding,
    batch_ensemble,
    batch_ensemble_of_weights,
    masksembles,
    masksembles_of_the_batch,
    shifts_by_row,
    batch_norm,
    drop_connect,
    drop_connect_by_bernoulli,
    drop_connect_by_where,
    dropped_rows,
    dropped_and_transposed,
    spike_and_slab,
    dropped_bias,
    a_mask_and_its_complement,
)


def _of(form: Callable[[Net, Tensor], Tensor]) -> Callable[[], nn.Module]:
    return lambda: Net(form)


FORMS: dict[str, Callable[[], nn.Module]] = {
    **{form.__name__: _of(form) for form in _WRITTEN},
    "parametrised": parametrised,
    "convolution": Convolution,
}
