"""Validation: the distance of a network's predictions from the float network's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from qbnnc.backends.torch.noise import CountedNoise, NoiseSource
from qbnnc.backends.torch.training.losses import (
    distance,
    distribution,
    epistemic_deviation,
    loss_of,
    predictive,
    relative_error,
)
from qbnnc.backends.torch.training.settings import Loss
from qbnnc.ir.head import Head
from qbnnc.ir.rng import Draw

_BATCH = 512
_SEED = 1
_EPISTEMIC_PART = 0.1

Network: TypeAlias = Callable[[Tensor, NoiseSource], tuple[Tensor, ...]]
"""The outputs [B, ...] of one sample for rows [B, *shape]."""


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Rows on the device: x [N, *shape] f32 and, if the loss needs them, y [N, ...]."""

    x: Tensor
    y: Tensor | None

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True, slots=True, eq=False)
class _Predicted:
    """The `predictive` distribution of all samples, and its `epistemic_deviation`."""

    distribution: list[Tensor]
    epistemic: Tensor


class Validation:
    """The rows that choose the best network, and what the float network predicts for them.

    Both networks get the same masks and eps every time. MATCH compares the predictive
    distributions of all samples, as `qbnnc evaluate --compare` does. The relative squared error of
    the epistemic standard deviations counts a tenth: a small KL alone could hide that rows change
    their order. The other losses are means over the samples.
    """

    def __init__(
        self, examples: Examples, loss: Loss, head: Head, teacher: Network, samples: int
    ) -> None:
        """`head` is the one that `loss_of` takes."""
        self._examples, self._loss, self._head, self._samples = examples, loss, head, samples
        self._targets: list[_Predicted] = []
        if loss is Loss.MATCH:
            with torch.no_grad():
                self._targets = [self._predicted(teacher, rows) for rows in self._batches()]

    def of(self, network: Network) -> float:
        """The loss of a network, a mean over the rows."""
        total = 0.0
        with torch.no_grad():
            for number, rows in enumerate(self._batches()):
                total += len(rows) * self._loss_of(network, rows, number)
        return total / len(self._examples)

    def _loss_of(self, network: Network, rows: range, batch: int) -> float:
        if self._loss is Loss.MATCH:
            ours, theirs = self._predicted(network, rows), self._targets[batch]
            apart = distance(self._head, ours.distribution, theirs.distribution)
            if self._samples > 1:
                apart = apart + _EPISTEMIC_PART * relative_error(ours.epistemic, theirs.epistemic)
            return float(apart)
        assert self._examples.y is not None
        y = self._examples.y[rows.start : rows.stop]
        losses = [loss_of(self._loss, self._head, o, [y]) for o in self._outputs(network, rows)]
        return float(torch.stack(losses).mean())

    def _predicted(self, network: Network, rows: range) -> _Predicted:
        made = [distribution(self._head, o) for o in self._outputs(network, rows)]
        return _Predicted(predictive(self._head, made), epistemic_deviation(self._head, made))

    def _outputs(self, network: Network, rows: range) -> Iterator[Sequence[Tensor]]:
        x = self._examples.x[rows.start : rows.stop]
        for sample in range(self._samples):
            yield network(x, CountedNoise(Draw.of(_SEED, [sample], rows)))

    def _batches(self) -> Iterator[range]:
        rows = len(self._examples)
        for start in range(0, rows, _BATCH):
            yield range(start, min(rows, start + _BATCH))
