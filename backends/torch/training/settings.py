"""Settings of a fine-tuning, and reports of its progress."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from qbnnc.support.errors import UserError
from qbnnc.support.inputs import choice, number, whole
from qbnnc.support.text import counted


class Loss(Enum):
    """The loss that fine-tuning minimises, of one Monte-Carlo sample a step."""

    # The distance to the float network under the same masks and eps, without labels: the KL
    # divergence of class probabilities if the task is classification, that of normal distributions
    # if the outputs are (mu, log variance), else the relative squared error.
    MATCH = "match"
    CROSS_ENTROPY = "cross-entropy"  # of logits against labels
    MSE = "mse"  # of the one output against targets
    GAUSSIAN_NLL = "gaussian-nll"  # of (mu, log variance) against targets, equation (3)

    @property
    def needs_labels(self) -> bool:
        return self is not Loss.MATCH


_LEAST_STEPS = 1000
_USUAL_EPOCHS = 3


@dataclass(frozen=True, slots=True)
class Training:
    """Adam, with a learning rate that falls from `lr` to 0 along half a cosine.

    Each ensemble member makes `steps` steps, or passes over the data `epochs` times; a fraction of
    an epoch is fine. Without either it passes over them 3 times, and makes 1,000 steps at least.
    `lr` None tries several rates for a quarter of the steps each. The best by validation goes on.
    Ranges of values move for the first `moving` part of the steps and are frozen then. They move by
    their gradient with `learn_ranges`, else by a moving average. `held_out` is the part of the
    rows, from 1 to 512 of them, that validation uses where there is no other set. `loss` may be
    given by its value: "match". UserError for numbers that make no sense.
    """

    loss: Loss = Loss.MATCH
    epochs: float | None = None
    lr: float | None = None
    batch_size: int = 64
    seed: int = 0
    learn_ranges: bool = True
    moving: float = 0.8
    train_sigma: bool = False
    held_out: float = 0.1
    validation_samples: int = 8
    steps: int | None = None

    def __post_init__(self) -> None:
        self._set("loss", choice("loss", Loss, self.loss))
        for name, least in (("batch_size", 1), ("seed", 0), ("validation_samples", 1)):
            self._set(name, whole(name, getattr(self, name), least))
        if self.steps is not None:
            self._set("steps", whole("steps", self.steps, 1))
        for name in ("epochs", "lr", "held_out", "moving"):
            if getattr(self, name) is not None or name in ("held_out", "moving"):
                self._set(name, number(name, getattr(self, name)))
        for name, good, need in (
            ("epochs", self.epochs is None or 0 < self.epochs < 1e6, "above 0, and below 1000000"),
            ("lr", self.lr is None or 0 < self.lr < 1e3, "above 0, and below 1000"),
            ("held_out", 0 < self.held_out < 1, "between 0 and 1"),
            ("moving", 0 <= self.moving <= 1, "from 0 to 1"),
        ):
            if not good:
                raise UserError(f"must be {need}", place=f"`{name}`")
        if self.steps is not None and self.epochs is not None:
            raise UserError(
                "says the same as `epochs`", place="`steps`", remedy="give one of the two"
            )

    def _set(self, name: str, value: object) -> None:
        """One form of a field: the repr is part of what identifies a fine-tuning."""
        object.__setattr__(self, name, value)

    def steps_of(self, per_epoch: int) -> int:
        """The steps of a member, whose epoch has `per_epoch` steps."""
        if self.steps is not None:
            return self.steps
        if self.epochs is not None:
            return max(1, round(self.epochs * per_epoch))
        return max(_LEAST_STEPS, _USUAL_EPOCHS * per_epoch)

    def __str__(self) -> str:
        """Text for the provenance."""
        ranges = "learned ranges" if self.learn_ranges else "moving-average ranges"
        rate = "lr found" if self.lr is None else f"lr {self.lr:g}"
        return f"{self._length} of {self.loss.value}, {rate}, {ranges}"

    @property
    def _length(self) -> str:
        if self.epochs is not None:
            return f"{self.epochs:g} epoch{'s' * (self.epochs != 1)}"
        if self.steps is not None:
            return counted(self.steps, "step")
        return f"{_USUAL_EPOCHS} epochs or {_LEAST_STEPS} steps"


@dataclass(frozen=True, slots=True)
class Progress:
    """A report of fine-tuning, made after each validation.

    `loss` is the mean over the steps since the last one (None before the first step), `best` the
    least validation loss so far.
    """

    member: int
    members: int
    step: int
    steps: int
    loss: float | None
    validation: float
    best: float

    @property
    def improved(self) -> bool:
        """Whether this validation is the best."""
        return self.validation == self.best


Tell: TypeAlias = Callable[[Progress], None]
