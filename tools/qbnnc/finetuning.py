"""Deprecated: the names are in `qbnnc.backends.torch.training`, and `Training` in `qbnnc`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qbnnc.support.deprecation import moved

if TYPE_CHECKING:
    from qbnnc.backends.torch.training import (
        Diverged,
        FineTuning,
        Loss,
        Progress,
        Training,
        finetune,
    )

__all__ = ["Diverged", "FineTuning", "Loss", "Progress", "Training", "finetune"]
__getattr__ = moved(__name__, "qbnnc.backends.torch.training", __all__)
