"""Fine-tuning one network, or one member of an ensemble."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qbnnc.backends.torch import Ranges, Simulation
from qbnnc.backends.torch.forward import Evaluation
from qbnnc.backends.torch.noise import CountedNoise, FreshNoise, Noise
from qbnnc.backends.torch.training.losses import loss_of
from qbnnc.backends.torch.training.settings import Loss, Training
from qbnnc.ir.graph import Graph
from qbnnc.ir.model import Model
from qbnnc.ir.rng import Draw
from qbnnc.support.errors import UserError

_VALIDATION_BATCH = 512
_VALIDATION_SEED = 1
_MOST_REPORTS = 20

Index = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Rows on the device: x [N, *shape] f32 and, if the loss needs them, y [N, ...]."""

    x: Tensor
    y: Tensor | None

    def __len__(self) -> int:
        return len(self.x)


class Diverged(UserError):
    """The loss is no number any more: the same steps would end there again."""


class MemberTuning:
    """The training loop, one step at a time, resumable between steps.

    All that is random depends on the seed, the member and the step alone: order of the rows by
    epoch, masks and eps by step. So a resumed run is the run that was not interrupted.
    """

    def __init__(
        self,
        trained: Graph,
        simulated: Model,
        member: int,
        training: Training,
        examples: Examples,
        validation: Examples,
    ) -> None:
        """`trained` is the FLOAT graph that MATCH compares with."""
        self._head, self._training, self._member = simulated.head, training, member
        self._examples, self._validation = examples, validation
        self._device = examples.x.device
        ranges = Ranges.LEARNED if training.learn_ranges else Ranges.EMA
        self.simulation = Simulation(
            simulated, member, ranges=ranges, train_sigma=training.train_sigma
        ).to(self._device)
        constants = {
            value: torch.from_numpy(array.copy()).to(self._device)
            for value, array in trained.constants.items()
        }
        self._teacher = Evaluation(trained, constants.__getitem__)
        self._optimiser = torch.optim.Adam(self.simulation.parameter_groups(training.lr))
        self._rates: list[float] = [group["lr"] for group in self._optimiser.param_groups]
        self._per_epoch = max(1, len(examples) // self._batch)
        self.steps = max(1, round(training.epochs * self._per_epoch))
        self.step = 0

    @property
    def _batch(self) -> int:
        return min(self._training.batch_size, len(self._examples))

    @property
    def report_every(self) -> int:
        """Steps between validations: an epoch, at least 4 and at most 20 times in all."""
        often = min(self._per_epoch, -(-self.steps // 4))
        return max(1, often, -(-self.steps // _MOST_REPORTS))

    def advance(self, count: int) -> float:
        """`count` more steps, or what is left of them; the mean loss. Diverged if not finite."""
        self.simulation.train()
        total, stop = 0.0, min(self.steps, self.step + count)
        made = stop - self.step
        while self.step < stop:
            total += self._one_step()
            self.step += 1
        return total / made

    def validate(self) -> float:
        """The mean loss over the validation rows, of the same masks and eps every time."""
        self.simulation.eval()
        rows, total = len(self._validation), 0.0
        samples = self._training.validation_samples
        with torch.no_grad():
            for sample in range(samples):
                for start in range(0, rows, _VALIDATION_BATCH):
                    stop = min(rows, start + _VALIDATION_BATCH)
                    draw = Draw.of(_VALIDATION_SEED, [sample], range(start, stop))
                    index = torch.arange(start, stop, device=self._device)
                    loss = self._loss(self._validation, index, CountedNoise(draw))
                    total += float(loss) * (stop - start)
        return total / (rows * samples)

    def state(self) -> dict[str, object]:
        """All that `restore` needs: tensors, numbers and containers of them."""
        return {
            "step": self.step,
            "simulation": self.simulation.state_dict(),
            "optimiser": self._optimiser.state_dict(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        step, simulation, optimiser = (state[k] for k in ("step", "simulation", "optimiser"))
        assert isinstance(step, int)
        self.step = step
        self.simulation.load_state_dict(simulation)
        self._optimiser.load_state_dict(optimiser)
        if self.step > self._freeze_at:
            self.simulation.freeze_ranges()

    @property
    def _freeze_at(self) -> int:
        return round(self._training.moving * self.steps)

    def _one_step(self) -> float:
        if self.step == self._freeze_at:
            self.simulation.freeze_ranges()
        rate = 0.5 * (1 + math.cos(math.pi * self.step / self.steps))
        for group, whole in zip(self._optimiser.param_groups, self._rates, strict=True):
            group["lr"] = whole * rate
        noise = FreshNoise(self._generator())
        loss = self._loss(self._examples, self._rows(), noise)
        if not torch.isfinite(loss):
            raise Diverged(
                f"the loss is {float(loss.detach())} at step {self.step}",
                place=f"`lr` {self._training.lr:g}",
                remedy="lower the learning rate, and check the data for outliers",
            )
        self._optimiser.zero_grad()
        loss.backward()
        self._optimiser.step()
        return float(loss.detach())

    def _loss(self, examples: Examples, index: Tensor, noise: Noise) -> Tensor:
        x, loss = examples.x[index], self._training.loss
        outputs = self.simulation.sample(x, noise)
        if loss is not Loss.MATCH:
            assert examples.y is not None
            return loss_of(loss, self._head, outputs, [examples.y[index]])
        with torch.no_grad():
            target = self._teacher.outputs(x, noise)
        whole = [t.expand(len(x), *t.shape[1:]) for t in target]
        return loss_of(loss, self._head, outputs, whole)

    def _rows(self) -> Tensor:
        """The rows of this step: epochs are permutations of their own."""
        epoch, place = divmod(self.step, self._per_epoch)
        rng = np.random.default_rng([self._training.seed, self._member, epoch])
        order = rng.permutation(len(self._examples))
        chosen = order[place * self._batch : (place + 1) * self._batch]
        return torch.from_numpy(chosen).to(self._device)

    def _generator(self) -> torch.Generator:
        rng = np.random.default_rng([self._training.seed, self._member, self.step, 1])
        seed = int(rng.integers(2**62))
        return torch.Generator(self._device).manual_seed(seed)
