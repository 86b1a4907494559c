"""Settings of a fine-tuning, and reports of its progress."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from qbnnc.support.errors import UserError
from qbnnc.support.inputs import choice, number, whole


class Loss(Enum):
    """The loss that fine-tuning minimises, of one Monte-Carlo sample a step."""

    # The distance to the float network under the same masks and eps, without labels: the KL
    # divergence of class probabilities if the task is classification, else the squared error.
    MATCH = "match"
    CROSS_ENTROPY = "cross-entropy"  # of logits against labels
    MSE = "mse"  # of the one output against targets
    GAUSSIAN_NLL = "gaussian-nll"  # of (mu, log variance) against targets, equation (3)

    @property
    def needs_labels(self) -> bool:
        return self is not Loss.MATCH


@dataclass(frozen=True, slots=True)
class Training:
    """Adam, with a learning rate that falls from `lr` to 0 along half a cosine.

    Each ensemble member passes over the data `epochs` times; a fraction is fine. Ranges of values
    move for the first `moving` part of the steps and are frozen then. They move by their gradient
    with `learn_ranges`, else by a moving average. `held_out` is the part of the rows, at least one,
    that validation uses where there is no other set. `loss` may be given by its value: "match".
    UserError for numbers that make no sense.
    """

    loss: Loss = Loss.MATCH
    epochs: float = 3.0
    lr: float = 1e-3
    batch_size: int = 64
    seed: int = 0
    learn_ranges: bool = True
    moving: float = 0.8
    train_sigma: bool = False
    held_out: float = 0.1
    validation_samples: int = 4

    def __post_init__(self) -> None:
        self._set("loss", choice("loss", Loss, self.loss))
        for name, least in (("batch_size", 1), ("seed", 0), ("validation_samples", 1)):
            self._set(name, whole(name, getattr(self, name), least))
        for name in ("epochs", "lr", "held_out", "moving"):
            self._set(name, number(name, getattr(self, name)))
        for name, good, need in (
            ("epochs", 0 < self.epochs < 1e6, "above 0, and below 1000000"),
            ("lr", 0 < self.lr < 1e3, "above 0, and below 1000"),
            ("held_out", 0 < self.held_out < 1, "between 0 and 1"),
            ("moving", 0 <= self.moving <= 1, "from 0 to 1"),
        ):
            if not good:
                raise UserError(f"must be {need}", place=f"`{name}`")

    def _set(self, name: str, value: object) -> None:
        """One form of a field: the repr is part of what identifies a fine-tuning."""
        object.__setattr__(self, name, value)

    def __str__(self) -> str:
        """Text for the provenance."""
        ranges = "learned ranges" if self.learn_ranges else "moving-average ranges"
        epochs = f"{self.epochs:g} epoch{'s' * (self.epochs != 1)}"
        return f"{epochs} of {self.loss.value}, lr {self.lr:g}, {ranges}"


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
