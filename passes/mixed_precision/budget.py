"""The loss that quantisation may cause: "nll+1%", "kl+.01", "rank-.05"."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from qbnnc.support.errors import UserError

METRICS: Final = ("nll", "error", "ece", "brier", "rmse", "kl", "rank")
_OF_FLOAT: Final = {"kl": 0.0, "rank": 1.0}  # of a network that equals the float one
_PERCENT: Final = ("error", "ece")
_ROUNDING: Final = 1e-12
_NEAR_ZERO: Final = 0.1  # nats; a percentage of such a likelihood is no measure of a change


@dataclass(frozen=True, slots=True)
class Budget:
    """A metric may be `amount` more than that of the float network, or `amount` % of it more.

    "kl" is KL(float || quantised) in nats. "rank" is the rank correlation of each row's epistemic
    uncertainty with that of the float network: it may be `amount` less than 1.
    """

    metric: str
    amount: float
    relative: bool

    @staticmethod
    def parse(text: str) -> Budget:
        """Read METRIC+X%, METRIC+X or rank-X; X of error and ece is in points of %.

        UserError for anything else.

        >>> Budget.parse("nll+1%")
        Budget(metric='nll', amount=1.0, relative=True)
        """
        number = r"(\d+\.?\d*|\.\d+)"
        match = re.fullmatch(rf"\s*(\w+)\s*([+-])\s*{number}\s*(%?)\s*", text.lower())
        sign = None if match is None else "-" if match[1] == "rank" else "+"
        if match is None or match[1] not in METRICS or match[2] != sign:
            raise UserError(
                "write METRIC+X% or METRIC+X, such as nll+1%, error+0.5 (points of %), kl+.01 or "
                f"rank-.05, with one of {', '.join(METRICS)}",
                place=f"`budget` {text}",
            )
        if match[4] and match[1] in _OF_FLOAT:
            raise UserError(
                f"{match[1]} has no percentage, as it compares with the float network already",
                place=f"`budget` {text}",
                remedy="write kl+.01 or rank-.05",
            )
        return Budget(match[1], float(match[3]), bool(match[4]))

    def limit(self, reference: Mapping[str, float]) -> float:
        """The most that the metric may be, for the float network's metrics `reference`.

        The least, of rank. UserError if there is no such metric, if it is infinite, or if a
        percentage is wanted of a likelihood near 0.
        """
        value = self.of_float(reference)
        if not np.isfinite(value):
            raise UserError(
                f"{self.metric} of the float network is {value}",
                place=f"`budget` {self}",
                remedy="choose another metric",
            )
        if self.metric == "rank":
            return value - self.amount
        if not self.relative:
            return value + self.amount / (100 if self.metric in _PERCENT else 1)
        if self.metric == "nll" and abs(value) < _NEAR_ZERO:
            raise UserError(
                f"the NLL of the float network is {value:.4f}, so near 0 that a percentage of it "
                "says nothing",
                place=f"`budget` {self}",
                remedy="give nats, such as nll+.01, or kl+.01",
            )
        return value + self.amount / 100 * abs(value)

    def of_float(self, reference: Mapping[str, float]) -> float:
        """The metric of the float network; UserError if its task has none."""
        if self.metric in _OF_FLOAT:
            return _OF_FLOAT[self.metric]
        if self.metric not in reference:
            known = [m for m in METRICS if m in reference or m in _OF_FLOAT]
            raise UserError(
                f"this task has no {self.metric}",
                place=f"`budget` {self}",
                remedy=f"choose one of {', '.join(known)}",
            )
        return reference[self.metric]

    def value(self, metrics: Mapping[str, float]) -> float:
        """The metric of a quantised network; UserError for a rank where nothing is random."""
        if self.metric not in metrics:
            raise UserError(
                "no row differs from another in its epistemic uncertainty, so there is no order",
                place=f"`budget` {self}",
                remedy="choose another metric, such as kl+.01",
            )
        return metrics[self.metric]

    def allows(self, value: float, limit: float) -> bool:
        """Whether a metric keeps `limit`, but for the rounding of float64."""
        rounding = _ROUNDING * abs(limit)
        return value >= limit - rounding if self.metric == "rank" else value <= limit + rounding

    def shown(self, value: float) -> str:
        """The metric's value as a person reads it, an error in %."""
        return f"{100 * value:.2f} %" if self.metric in _PERCENT else f"{value:.4f}"

    def __str__(self) -> str:
        sign = "-" if self.metric == "rank" else "+"
        return f"{self.metric}{sign}{self.amount:g}{'%' * self.relative}"
