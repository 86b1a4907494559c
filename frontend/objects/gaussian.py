"""Gaussian distributions over the weights of a network, by the names of its parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from qbnnc.support.errors import CompileError


@dataclass(frozen=True, slots=True, eq=False)
class SharedNoise:
    """The noise sum_r z_r D_r: one Gaussian z [rank] for all `factors` D [rank, *shape]."""

    rank: int
    factors: Mapping[str, Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class Kronecker:
    """The noise left @ (scale * E) @ right of one weight, with E Gaussian.

    left [O, a], scale [a, b], right [b, I]; the product [O, I] has the weight's shape at last.
    """

    left: Tensor
    scale: Tensor
    right: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Gaussian:
    """Means by name, and the independent parts whose sum is the noise around them.

    `scale` has the standard deviations of noise of each weight's own. Weights without any part are
    constants.
    """

    mean: Mapping[str, Tensor]
    scale: Mapping[str, Tensor] = field(default_factory=dict)
    shared: Sequence[SharedNoise] = ()
    kronecker: Mapping[str, Kronecker] = field(default_factory=dict)

    def check(self, place: str) -> None:
        """Raise CompileError for a number that is NaN or infinite, as in an unfitted object."""
        for name, tensor in self._tensors():
            if not bool(torch.isfinite(tensor).all()):
                raise CompileError(
                    f"its posterior has NaN or infinity for {name}",
                    place,
                    remedy="check how it was fitted: a zero precision has no standard deviation",
                )

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        yield from self.mean.items()
        yield from self.scale.items()
        for noise in self.shared:
            yield from noise.factors.items()
        for name, product in self.kronecker.items():
            yield name, product.scale


def plain(tensor: Tensor) -> Tensor:
    """A copy of a tensor's numbers on the CPU, without gradients."""
    return tensor.detach().to("cpu").clone()


@dataclass(frozen=True, slots=True)
class Layout:
    """The places of named weights in one flat vector, in order."""

    shapes: Mapping[str, torch.Size]

    @staticmethod
    def of(weights: Mapping[str, Tensor]) -> Layout:
        """The layout of weights that follow one another."""
        return Layout({name: tensor.shape for name, tensor in weights.items()})

    @property
    def size(self) -> int:
        """The length of the vector."""
        return sum(shape.numel() for shape in self.shapes.values())

    def split(self, flat: Tensor) -> dict[str, Tensor]:
        """The weights in a vector [..., size], each [..., *shape]."""
        parts = plain(flat).split([shape.numel() for shape in self.shapes.values()], dim=-1)
        leading = flat.shape[:-1]
        return {
            name: part.reshape((*leading, *shape)).contiguous()
            for (name, shape), part in zip(self.shapes.items(), parts, strict=True)
        }

    def correlated(self, root: Tensor) -> SharedNoise:
        """The noise root @ z of all weights, for a root [size, rank] of the covariance."""
        return SharedNoise(root.shape[1], self.split(root.T))
