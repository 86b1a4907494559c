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
}
COUNTS = {"elites": 2}  # of the others: MEMBERS


def built(name: str) -> nn.Module:
    torch.manual_seed(3)
    return SPELLINGS[name]().eval()


def is_random(name: str) -> bool:
    return "dropout" in name
