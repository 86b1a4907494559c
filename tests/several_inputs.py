"""Networks of several inputs, in the spellings that people use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

ROWS = 100


class Outputs(NamedTuple):
    logits: Tensor
    score: Tensor


class ImageAndFeatures(nn.Module):
    """A small image, scaled in forward, beside a vector; MC dropout where they meet."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(1, 2, 2), nn.Linear(3, 4)
        self.drop, self.out = nn.Dropout(0.3), nn.Linear(12, 2)

    def forward(self, image: Tensor, features: Tensor) -> Tensor:
        seen = torch.relu(self.conv(image * 2 - 1)).flatten(1)
        both = torch.cat([seen, torch.relu(self.fc(features))], 1)
        result: Tensor = self.out(self.drop(both))
        return result


class OfKeywords(ImageAndFeatures):
    def forward(self, *, features: Tensor, image: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(image, features)


class OfDict(ImageAndFeatures):
    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:  # type: ignore[override]
        return super().forward(batch["image"], batch["features"])


class OfList(ImageAndFeatures):
    def forward(self, xs: Sequence[Tensor]) -> Tensor:  # type: ignore[override]
        return super().forward(xs[0], xs[1])


class OfStar(ImageAndFeatures):
    def forward(self, *xs: Tensor) -> Tensor:
        return super().forward(*xs)


class Nested(ImageAndFeatures):
    def forward(self, image: Tensor, other: Mapping[str, Tensor]) -> Tensor:  # type: ignore[override]
        return super().forward(image, other["features"])


class WithDefault(ImageAndFeatures):
    def forward(self, image: Tensor, features: Tensor, mask: Tensor | None = None) -> Tensor:
        assert mask is None
        return super().forward(image, features)


class Counts(nn.Module):
    """Whole numbers that become real ones in forward, one of them a row; named outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.drop, self.out = nn.Linear(4, 6), nn.Dropout(0.2), nn.Linear(6, 3)

    def forward(self, counts: Tensor, age: Tensor) -> Outputs:
        x = torch.cat([counts.float() / 10, age.float().unsqueeze(1) / 50], 1)
        made = self.out(self.drop(torch.tanh(self.fc(x))))
        return Outputs(made[:, :2], made[:, 2:])


class SampledGaussian(nn.Module):
    """A linear layer that draws its weight at each call."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.mu = nn.Parameter(torch.randn(outputs, inputs) / inputs**0.5)
        self.rho = nn.Parameter(torch.full((outputs, inputs), -2.0))

    def forward(self, x: Tensor) -> Tensor:
        sigma = nn.functional.softplus(self.rho)
        return nn.functional.linear(x, self.mu + sigma * torch.randn_like(sigma))


class ThreeSampled(nn.Module):
    """Three inputs, one of which scales another; sampled weights and dropout of a whole input."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = SampledGaussian(5, 6), nn.Linear(6, 6)
        self.drop, self.out = nn.Dropout(0.25), SampledGaussian(6, 2)

    def forward(self, first: Tensor, second: Tensor, gate: Tensor) -> Tensor:
        x = torch.relu(self.a(first)) + self.drop(self.b(second.flatten(1)))
        result: Tensor = self.out(x * torch.sigmoid(gate))
        return result


def arrays(seed: int = 0, rows: int = ROWS) -> dict[str, NDArray[np.generic]]:
    """Rows of every input above, by name; each has another range."""
    rng = np.random.default_rng(seed)
    return {
        "image": rng.random((rows, 1, 3, 3)).astype(np.float32),
        "features": rng.normal(0, 30, (rows, 3)).astype(np.float32),
        "counts": rng.integers(0, 20, (rows, 3)),
        "age": rng.integers(18, 90, rows).astype(np.uint8),
        "first": rng.normal(size=(rows, 5)).astype(np.float32),
        "second": rng.normal(2, 0.1, (rows, 2, 3)).astype(np.float32),
        "gate": rng.normal(size=(rows, 6)).astype(np.float32),
    }


def trained(kind: type[nn.Module], seed: int = 0) -> nn.Module:
    """A module with weights of this seed, whose dropout is active."""
    torch.manual_seed(seed)
    return kind().train()
