"""The loss that quantisation may cause: "nll+1%"."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from qbnnc.support.errors import UserError

METRICS: Final = ("nll", "error", "ece", "brier", "rmse")
_PERCENT: Final = ("error", "ece")
_ROUNDING: Final = 1e-12


@dataclass(frozen=True, slots=True)
class Budget:
    """A metric may be `amount` more than that of the float network, or `amount` % of it more."""

    metric: str
    amount: float
    relative: bool

    @staticmethod
    def parse(text: str) -> Budget:
        """Read METRIC+X% or METRIC+X; X of error and ece is in points of %. UserError otherwise.

        >>> Budget.parse("nll+1%")
        Budget(metric='nll', amount=1.0, relative=True)
        """
        match = re.fullmatch(r"\s*(\w+)\s*\+\s*(\d+\.?\d*|\.\d+)\s*(%?)\s*", text.lower())
        if match is None or match[1] not in METRICS:
            raise UserError(
                "write METRIC+X% or METRIC+X, such as nll+1% or error+0.5 (points of %), with "
                f"one of {', '.join(METRICS)}",
                place=f"`budget` {text}",
            )
        return Budget(match[1], float(match[2]), bool(match[3]))

    def limit(self, reference: Mapping[str, float]) -> float:
        """The most that the metric may be, for the float network's metrics `reference`.

        UserError if there is no such metric, or it is infinite.
        """
        if self.metric not in reference:
            known = [metric for metric in METRICS if metric in reference]
            raise UserError(
                f"this task has no {self.metric}",
                place=f"`budget` {self}",
                remedy=f"choose one of {', '.join(known)}",
            )
        value = reference[self.metric]
        if not np.isfinite(value):
            raise UserError(
                f"{self.metric} of the float network is {value}",
                place=f"`budget` {self}",
                remedy="choose another metric",
            )
        if self.relative:
            return value + self.amount / 100 * abs(value)
        return value + self.amount / (100 if self.metric in _PERCENT else 1)

    def allows(self, value: float, limit: float) -> bool:
        """Whether a metric is at most `limit`, but for the rounding of float64."""
        return value <= limit + _ROUNDING * abs(limit)

    def shown(self, value: float) -> str:
        """The metric's value as a person reads it, an error in %."""
        return f"{100 * value:.2f} %" if self.metric in _PERCENT else f"{value:.4f}"

    def __str__(self) -> str:
        return f"{self.metric}+{self.amount:g}{'%' * self.relative}"
