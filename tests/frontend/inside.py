"""Ensembles inside one module, as model-based reinforcement learning (PETS, MBPO) writes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

MEMBERS, FEATURES, HIDDEN, OUTPUTS = 3, 5, 8, 2

Product = Callable[[Tensor, Tensor, Tensor], Tensor]
Spread = Callable[[Tensor], Tensor]


def baddbmm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return torch.baddbmm(bias, x, weight)


def bmm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return torch.bmm(x, weight) + bias


def einsum(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return torch.einsum("ebi,eio->ebo", x, weight) + bias


def matmul(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return bias + x @ weight


def expanded(x: Tensor) -> Tensor:
    return x.expand(MEMBERS, -1, -1)


def repeated(x: Tensor) -> Tensor:
    return x.unsqueeze(0).repeat(MEMBERS, 1, 1)


def broadcast(x: Tensor) -> Tensor:
    return x[None]


def stacked(x: Tensor) -> Tensor:
    return torch.stack([x] * MEMBERS)


class Layer(nn.Module):
    """Weights [members, inputs, outputs] and biases [members, 1, outputs]."""

    def __init__(self, inputs: int, outputs: int, product: Product) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(MEMBERS, inputs, outputs) / inputs**0.5)
        self.bias = nn.Parameter(0.1 * torch.randn(MEMBERS, 1, outputs))
        self.product = product

    def forward(self, x: Tensor) -> Tensor:
        return self.product(x, self.weight, self.bias)


class Probabilistic(nn.Module):
    """Means and soft-clamped log variances of all members: PETS (Chua et al. 2018), section 4."""

    def __init__(
        self,
        product: Product,
        spread: Spread,
        *,
        p: float = 0.0,
        norm: bool = False,
        elites: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.first = Layer(FEATURES, HIDDEN, product)
        self.second = Layer(HIDDEN, HIDDEN, product)
        self.last = Layer(HIDDEN, 2 * OUTPUTS, product)
        self.norm = nn.LayerNorm(HIDDEN) if norm else nn.Identity()
        self.dropout, self.spread, self.elites = nn.Dropout(p), spread, elites
        self.most = nn.Parameter(torch.full((1, OUTPUTS), 0.5))
        self.least = nn.Parameter(torch.full((1, OUTPUTS), -4.0))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        h = self.dropout(F.silu(self.first(self.spread(x))))
        h = F.silu(self.norm(self.second(h)))
        y = self.last(h)
        if self.elites is not None:
            y = y[self.elites]
        mean, log_var = y.chunk(2, dim=-1)
        log_var = self.most - F.softplus(self.most - log_var)
        return {"mean": mean, "log_var": self.least + F.softplus(log_var - self.least)}


class Heads(nn.Module):
    """A trunk that all members share, and heads of their own: [batch, members, outputs]."""

    def __init__(self, members_first: bool) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(FEATURES, HIDDEN), nn.ReLU())
        self.weight = nn.Parameter(torch.randn(MEMBERS, HIDDEN, OUTPUTS))
        self.bias = nn.Parameter(torch.randn(MEMBERS, OUTPUTS))
        self.members_first = members_first

    def forward(self, x: Tensor) -> Tensor:
        y = torch.einsum("bi,eio->beo", self.trunk(x), self.weight) + self.bias
        return y.transpose(0, 1) if self.members_first else y


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(FEATURES, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, OUTPUTS))


class Several(nn.Module):
    """Networks in a list, whose outputs are stacked along an axis."""

    def __init__(self, axis: int, p: float = 0.0) -> None:
        super().__init__()
        self.nets = nn.ModuleList(
            nn.Sequential(network(), nn.Dropout(p), nn.Linear(OUTPUTS, OUTPUTS))
            for _ in range(MEMBERS)
        )
        self.axis = axis

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([net(x) for net in self.nets], dim=self.axis)


class Mapped(nn.Module):
    """torch.func.vmap over the stacked parameters of several networks."""

    def __init__(self) -> None:
        super().__init__()
        nets = [network() for _ in range(MEMBERS)]
        stacked_, _ = stack_module_state(nets)
        self.names = list(stacked_)
        self.kept = nn.ParameterList(nn.Parameter(each.detach()) for each in stacked_.values())
        self.one = (nets[0],)  # in a tuple, so that its own parameters are none of this module's

    def forward(self, x: Tensor) -> Tensor:
        def call(parameters: dict[str, Tensor], rows: Tensor) -> Tensor:
            y: Tensor = functional_call(self.one[0], parameters, (rows,))
            return y

        parameters = dict(zip(self.names, self.kept, strict=True))
        y: Tensor = vmap(call, in_dims=(0, None))(parameters, x)
        return y


def tiled(x: Tensor) -> Tensor:
    return x.repeat(MEMBERS, *[1] * (x.ndim - 1))


def joined(x: Tensor) -> Tensor:
    return torch.cat([x for _ in range(MEMBERS)], dim=0)


def of_rows(factors: Tensor, x: Tensor) -> Tensor:
    """BatchEnsemble's factors [members, n] for the rows [members * batch, n] of x.

    torch-uncertainty repeats the first ones for rows that are left over.
    """
    count, left = x.size(0) // MEMBERS, x.size(0) % MEMBERS
    repeated = torch.repeat_interleave(factors, count, dim=0)
    return torch.cat([repeated, repeated[:left]], dim=0)


class RankOne(nn.Module):
    """BatchEnsemble (Wen et al. 2020): one weight, and factors of each member at both its ends."""

    def __init__(self, spread: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.spread, self.first = spread, nn.Linear(FEATURES, HIDDEN, bias=False)
        self.last = nn.Linear(HIDDEN, OUTPUTS, bias=False)
        sizes = (FEATURES, HIDDEN, OUTPUTS)
        self.before = nn.ParameterList(1 + 0.3 * torch.randn(MEMBERS, n) for n in sizes[:2])
        self.after = nn.ParameterList(1 + 0.3 * torch.randn(MEMBERS, n) for n in sizes[1:])
        self.biases = nn.ParameterList(torch.randn(MEMBERS, n) for n in sizes[1:])

    def forward(self, x: Tensor) -> Tensor:
        y = self.spread(x)
        for i, layer in enumerate((self.first, self.last)):
            before, after, bias = (of_rows(f[i], y) for f in (self.before, self.after, self.biases))
            y = layer(y * before) * after + bias
            y = torch.relu(y) if i == 0 else y
        return y.view(MEMBERS, x.size(0), -1)


class Masked(nn.Module):
    """Masksembles (Durasov et al. 2021), whose rows are cut into groups and joined again."""

    masks: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(FEATURES, HIDDEN), nn.Linear(HIDDEN, OUTPUTS)
        self.register_buffer("masks", (torch.rand(MEMBERS, HIDDEN) > 0.4).float())

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.first(tiled(x)))
        groups = torch.split(y.unsqueeze(1), y.shape[0] // MEMBERS, dim=0)
        y = torch.cat(groups, dim=1).permute([1, 0, 2]) * self.masks.unsqueeze(1)
        y = torch.cat(torch.split(y, 1, dim=0), dim=1).squeeze(0)
        z: Tensor = self.last(y)
        return z.view(MEMBERS, x.size(0), -1)


class RankOneImages(nn.Module):
    """BatchEnsemble of a convolution: channels have the factors, and the norm is shared."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(2, HIDDEN, 3, padding=1), nn.BatchNorm2d(HIDDEN)
        self.before = nn.Parameter(1 + 0.3 * torch.randn(MEMBERS, 2))
        self.after = nn.Parameter(1 + 0.3 * torch.randn(MEMBERS, HIDDEN))

    def forward(self, x: Tensor) -> Tensor:
        y = tiled(x)
        before, after = (of_rows(f, y)[:, :, None, None] for f in (self.before, self.after))
        y = torch.relu(self.norm(self.conv(y * before) * after)).mean((2, 3))
        return y.view(MEMBERS, x.size(0), -1)


SPELLINGS: dict[str, Callable[[], nn.Module]] = {
    "baddbmm of expanded rows": lambda: Probabilistic(baddbmm, expanded),
    "bmm of repeated rows": lambda: Probabilistic(bmm, repeated),
    "einsum, LayerNorm": lambda: Probabilistic(einsum, stacked, norm=True),
    "matmul that broadcasts": lambda: Probabilistic(matmul, broadcast),
    "elites": lambda: Probabilistic(baddbmm, repeated, elites=[2, 0]),
    "dropout": lambda: Probabilistic(bmm, expanded, p=0.2),
    "a shared trunk": lambda: Heads(members_first=True),
    "a list of modules": lambda: Several(0),
    "a list of modules with dropout": lambda: Several(0, p=0.25),
    "vmap": Mapped,
    "BatchEnsemble of rows in blocks": lambda: RankOne(tiled),
    "BatchEnsemble of joined rows": lambda: RankOne(joined),
    "Masksembles": Masked,
}
COUNTS = {"elites": 2}  # of the others: MEMBERS


def built(name: str) -> nn.Module:
    torch.manual_seed(3)
    return SPELLINGS[name]().eval()


def is_random(name: str) -> bool:
    return "dropout" in name
