"""The training loop: one run over the training rows, at one learning rate."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from qbnnc.backends.torch import Ranges, Simulation
from qbnnc.backends.torch.forward import Evaluation
from qbnnc.backends.torch.noise import FreshNoise, NoiseSource
from qbnnc.backends.torch.training.losses import loss_of
from qbnnc.backends.torch.training.settings import Loss, Training
from qbnnc.backends.torch.training.validation import Examples, Network, Validation
from qbnnc.ir.graph import Graph
from qbnnc.ir.head import Head
from qbnnc.ir.model import Model
from qbnnc.support.errors import UserError

_MOST_REPORTS = 20


@dataclass(frozen=True, slots=True)
class Run:
    """The length of one run over the training rows, and its learning rate to begin with."""

    rate: float
    steps: int


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """All that the runs of a member share.

    `start` is the SIMULATED Model that they begin with, `member` a number. `head` is the one by
    which MATCH compares with the `teacher`, the float network.
    """

    start: Model
    member: int
    training: Training
    examples: Examples
    validation: Validation
    head: Head
    teacher: Network

    @property
    def steps_per_epoch(self) -> int:
        """The steps of one pass over the rows; rows that fill no batch are left out."""
        return max(1, len(self.examples) // self.training.batch_size)


def teacher_of(trained: Graph, device: torch.device) -> Network:
    """The float network, whose outputs [B, ...] MATCH compares with."""
    constants = {
        value: torch.from_numpy(array.copy()).to(device)
        for value, array in trained.constants.items()
    }
    evaluation = Evaluation(trained, constants.__getitem__)

    def network(x: Tensor, noise: NoiseSource) -> tuple[Tensor, ...]:
        made = evaluation.outputs(x, noise)
        return tuple(output.expand(len(x), *output.shape[1:]) for output in made)

    return network


class Diverged(UserError):
    """The loss is no number any more: the same steps would end there again."""


class Loop:
    """One run of the training loop, step by step, resumable between steps.

    All that is random depends on the seed, the member and the step alone: order of the rows by
    epoch, masks and eps by step. So a resumed run is the run that was not interrupted.
    """

    def __init__(self, job: Job, run: Run) -> None:
        self._job, self._run, self._training = job, run, job.training
        self._device = job.examples.x.device
        ranges = Ranges.LEARNED if job.training.learn_ranges else Ranges.EMA
        self.simulation = Simulation(
            job.start, job.member, ranges=ranges, train_sigma=job.training.train_sigma
        ).to(self._device)
        self._optimiser = torch.optim.Adam(self.simulation.parameter_groups(run.rate))
        self._rates: list[float] = [group["lr"] for group in self._optimiser.param_groups]
        self.step = 0

    @property
    def steps(self) -> int:
        return self._run.steps

    @property
    def _batch(self) -> int:
        return min(self._training.batch_size, len(self._job.examples))

    @property
    def report_every(self) -> int:
        """Steps between validations: an epoch, at least 4 and at most 20 times in all."""
        often = min(self._job.steps_per_epoch, -(-self.steps // 4))
        return max(1, often, -(-self.steps // _MOST_REPORTS))

    def validate(self) -> float:
        """The loss on the validation rows."""
        self.simulation.eval()
        return self._job.validation.of(self.simulation.sample)

    def advance(self, count: int) -> float:
        """`count` more steps, or what is left of them; the mean loss. Diverged if not finite."""
        self.simulation.train()
        total, stop = 0.0, min(self.steps, self.step + count)
        made = stop - self.step
        while self.step < stop:
            total += self._one_step()
            self.step += 1
        return total / made

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
        loss = self._loss(self._rows(), noise)
        if not torch.isfinite(loss):
            raise Diverged(
                f"the loss is {float(loss.detach())} at step {self.step}",
                place=f"`lr` {self._run.rate:g}",
                remedy="lower the learning rate, and check the data for outliers",
            )
        self._optimiser.zero_grad()
        loss.backward()
        self._optimiser.step()
        return float(loss.detach())

    def _loss(self, index: Tensor, noise: NoiseSource) -> Tensor:
        examples, loss = self._job.examples, self._training.loss
        x = examples.x[index]
        outputs = self.simulation.sample(x, noise)
        if loss is not Loss.MATCH:
            assert examples.y is not None
            return loss_of(loss, self._job.head, outputs, [examples.y[index]])
        with torch.no_grad():
            target = self._job.teacher(x, noise)
        return loss_of(loss, self._job.head, outputs, target)

    def _rows(self) -> Tensor:
        """The rows of this step: epochs are permutations of their own."""
        epoch, place = divmod(self.step, self._job.steps_per_epoch)
        rng = np.random.default_rng([self._training.seed, self._job.member, epoch])
        order = rng.permutation(len(self._job.examples))
        chosen = order[place * self._batch : (place + 1) * self._batch]
        return torch.from_numpy(chosen).to(self._device)

    def _generator(self) -> torch.Generator:
        rng = np.random.default_rng([self._training.seed, self._job.member, self.step, 1])
        seed = int(rng.integers(2**62))
        return torch.Generator(self._device).manual_seed(seed)
