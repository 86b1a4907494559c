"""A posterior: a module that draws a network's weights, and the object that it was made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn

from qbnnc.frontend.objects.gaussian import Gaussian, SharedNoise, plain
from qbnnc.frontend.program.locations import NETWORK
from qbnnc.support.errors import CompileError, InputError, Loc

Weights: TypeAlias = Mapping[str, Tensor]


class SampledNetwork(nn.Module):
    """A network that draws its weights at each call.

    forward spells them mean + scale * eps, with further sums for correlated parts. All uses of a
    weight in one call share its draw.
    """

    def __init__(self, network: nn.Module, weights: Gaussian, *, probabilities: bool) -> None:
        """`probabilities` puts a softmax over the last axis behind the network."""
        super().__init__()
        self.training = network.training
        self.add_module(NETWORK, network)
        self._probabilities = probabilities
        self._means = self._kept("mean", weights.mean)
        self._scales = self._kept("scale", weights.scale)
        self._shared = [self._noise(i, noise) for i, noise in enumerate(weights.shared)]
        parts = {name: (k.left, k.scale, k.right) for name, k in weights.kronecker.items()}
        self._products = [
            self._kept(kind, {name: part[i] for name, part in parts.items()})
            for i, kind in enumerate(("left", "between", "right"))
        ]

    def _kept(self, kind: str, tensors: Weights) -> dict[str, str]:
        """Keep tensors as buffers, whose names are returned: a buffer's own has no dots."""
        names = {name: f"{kind}_{number}" for number, name in enumerate(tensors)}
        for name, tensor in tensors.items():
            self.register_buffer(names[name], plain(tensor))
        return names

    def _noise(self, number: int, noise: SharedNoise) -> tuple[str, dict[str, str]]:
        """Keep factors, and a vector of zeros [rank] whose noise they share."""
        z = f"z_{number}"
        example = next(iter(noise.factors.values()))
        self.register_buffer(z, torch.zeros(noise.rank, dtype=example.dtype))
        return z, self._kept(f"factor_{number}", noise.factors)

    def drawn(self) -> dict[str, Tensor]:
        """Draw all weights once."""
        weights = {name: self.get_buffer(kept) for name, kept in self._means.items()}
        for name, kept in self._scales.items():
            scale = self.get_buffer(kept)
            weights[name] = weights[name] + scale * torch.randn_like(scale)
        for z, factors in self._shared:
            noise = torch.randn_like(self.get_buffer(z))
            for name, kept in factors.items():
                part = torch.einsum("r,r...->...", noise, self.get_buffer(kept))
                weights[name] = weights[name] + part
        lefts, scales, rights = self._products
        for name, kept in scales.items():
            scale = self.get_buffer(kept)
            noise = scale * torch.randn_like(scale)
            part = self.get_buffer(lefts[name]) @ noise @ self.get_buffer(rights[name])
            weights[name] = weights[name] + part.reshape(weights[name].shape)
        return weights

    def computed(self, weights: Weights, x: Tensor) -> object:
        """The network's outputs under these weights."""
        network = self.get_submodule(NETWORK)
        return torch.func.functional_call(network, dict(weights), (x,))

    def under(self, weights: Weights, x: Tensor) -> object:
        """The outputs under these weights, with the softmax if there is one."""
        outputs = self.computed(weights, x)
        if not self._probabilities:
            return outputs
        assert isinstance(outputs, Tensor)
        return outputs.softmax(dim=-1)

    def forward(self, x: Tensor) -> object:
        return self.under(self.drawn(), x)


@dataclass(frozen=True, slots=True, eq=False)
class Posterior:
    """A member made of a library's object: the `module` that is traced, and the object's own draws.

    `draw` gives the outputs for a batch under one sample that the object itself draws from torch's
    global generator. `told` describes the posterior in a line of the provenance.
    """

    module: nn.Module
    draw: Callable[[Tensor], object]
    told: str


@contextmanager
def in_users_names(posterior: Posterior) -> Iterator[None]:
    """Let errors name the places of the user's network, and not of the module around it."""
    ours = type(posterior.module).__name__
    network = getattr(posterior.module, NETWORK, posterior.module)

    def named(text: str) -> str:
        return text.replace(f"{NETWORK}.", "").replace(ours, type(network).__name__)

    try:
        yield
    except (CompileError, InputError) as error:
        place = error.place
        known = Loc(named(place.module), place.source) if isinstance(place, Loc) else None
        where = named(str(place)) if known is None else known
        raise type(error)(named(error.message), where, error.remedy) from error
