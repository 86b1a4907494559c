"""The covariance of weights that are affine in Gaussian noise: a column for each noise element."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

import torch
from torch import Tensor

from qbnnc.frontend.torch_modes import Arguments, Function, FunctionMode, Keywords

Weights = Mapping[str, Tensor]
_DRAWS = (torch.randn, torch.randn_like, torch.normal, Tensor.normal_)


class _Noise(FunctionMode):
    """Gives 0 for every Gaussian number, and 1 for the one with the number `hot`."""

    def __init__(self, hot: int = -1) -> None:
        super().__init__()
        self.hot, self.count = hot, 0

    def called(self, function: Function, args: Arguments, kwargs: Keywords) -> object:
        drawn = function(*args, **kwargs)
        if function not in _DRAWS:
            return drawn
        assert isinstance(drawn, Tensor)
        eps = torch.zeros(drawn.numel())
        if 0 <= self.hot - self.count < len(eps):
            eps[self.hot - self.count] = 1
        self.count += len(eps)
        eps = eps.reshape(drawn.shape).to(drawn.dtype)
        if function is Tensor.normal_:
            return drawn.copy_(eps)
        if function is torch.normal:
            mean, deviation = cast("tuple[Tensor, Tensor]", args[:2])
            return mean + deviation * eps
        return eps


def moments(draw: Callable[[], Weights]) -> tuple[Tensor, Tensor]:
    """The mean [n] and covariance [n, n], f64, of what `draw` gives, sorted by name."""
    with torch.no_grad():
        with _Noise() as silent:
            mean = _flat(draw())
        columns = []
        for number in range(silent.count):
            with _Noise(number):
                columns.append(_flat(draw()) - mean)
    root = torch.stack(columns, dim=1)
    return mean, root @ root.T


def _flat(weights: Weights) -> Tensor:
    return torch.cat([weights[name].double().reshape(-1) for name in sorted(weights)])
