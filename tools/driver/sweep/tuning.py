"""How quantisation-aware training goes, without importing torch before it is needed."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

from qbnnc.choices import choice, whole
from qbnnc.extras import require
from qbnnc.ir.model import Model

if TYPE_CHECKING:
    from qbnnc.finetuning import Training


@dataclass(frozen=True, slots=True)
class Tuning:
    """The user's choices; None leaves one to qbnnc.finetuning.Training."""

    loss: str | None = None
    epochs: float | None = None
    lr: float | None = None
    batch_size: int | None = None

    def given(self) -> dict[str, object]:
        """The choices that were made, by option."""
        named = {f"--{f.name.replace('_', '-')}": getattr(self, f.name) for f in fields(self)}
        return {option: value for option, value in named.items() if value is not None}

    def training(self, seed: int) -> Training:
        """All of it, for one seed; UserError for a choice that is none."""
        require("torch", what="--qat")
        from qbnnc.finetuning import Loss, Training

        made = Training(seed=seed)
        if self.loss is not None:
            made = replace(made, loss=choice("--loss", Loss, self.loss))
        if self.epochs is not None:
            made = replace(made, epochs=self.epochs)
        if self.lr is not None:
            made = replace(made, lr=self.lr)
        if self.batch_size is not None:
            made = replace(made, batch_size=whole("--batch-size", self.batch_size, 1))
        return made

    def check(self, model: Model) -> None:
        """UserError if the loss does not fit the network's outputs."""
        from qbnnc.finetuning.losses import check_loss

        check_loss(self.training(seed=0).loss, model)
