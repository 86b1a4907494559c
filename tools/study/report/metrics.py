"""The metrics that a report shows: their names, units and meanings; and numbers as text."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric, shown as `factor` times the number in a row, in `unit`."""

    key: str
    name: str
    unit: str = ""
    factor: float = 1.0
    meaning: str = ""

    @property
    def axis(self) -> str:
        """The label, or the unit alone where that is too long: the title has the name."""
        return self.label if len(self.label) <= _AXIS or not self.unit else self.unit

    @property
    def increase(self) -> str:
        """ "Increase of Error, % points": for differences."""
        unit = "% points" if self.unit == "%" else self.unit
        return f"Increase of {self.name}, {unit}" if unit else f"Increase of {self.name}"

    @property
    def label(self) -> str:
        """ "Error, %": for axes and columns."""
        return f"{self.name}, {self.unit}" if self.unit else self.name


_AXIS: Final = 21  # characters of a label that fit along a panel's axis
KNOWN: Final = (  # in the order of a report
    Metric("error", "Error", "%", 100, "share of the rows whose most probable class is wrong"),
    Metric("rmse", "RMSE", "target units", 1, "root of the mean squared error of the mean"),
    Metric("nll", "NLL", "nats", 1, "mean negative log-likelihood of the targets; less is better"),
    Metric("ece", "ECE", "%", 100, "expected calibration error: how far confidence and accuracy "
           "are apart, over bins of confidence"),
    Metric("brier", "Brier score", "", 1, "mean squared error of the probabilities"),
    Metric("ape", "aPE", "nats", 1, "average predictive entropy, of the probabilities averaged "
           "over the samples; should be low on test data and high on out-of-distribution data"),
    Metric("mutual_information", "MI", "nats", 1, "mutual information of output and weights: the "
           "part of the predictive entropy that comes from not knowing the weights"),
    Metric("epistemic_std", "Epistemic std", "target units", 1, "median standard deviation of the "
           "mean between samples: what the weights leave open"),
    Metric("aleatoric_std", "Aleatoric std", "target units", 1, "median standard deviation that "
           "the network predicts: noise in the targets"),
    Metric("aurc", "AURC", "", 1, "area under the risk-coverage curve: the mean loss of the rows "
           "of which the network is surest; less is better"),
    Metric("coverage", "Coverage", "%", 100, "share of the targets inside the intervals that "
           "should have 90 % of them"),
    Metric("kl", "KL from float", "nats", 1, "divergence of the predictive distribution from that "
           "of the float network with the same random numbers, mean over the rows; float is "
           "compared with its next seed: so much the samples leave to chance"),
    Metric("rank", "Rank", "", 1, "rank correlation of the rows' epistemic standard deviations, or "
           "mutual informations, with the float network's: 1 is the same order"),
    Metric("spread", "Spread", "", 1, "mean of the epistemic standard deviations, or mutual "
           "informations, as a multiple of the float network's: 1 is right"),
    Metric("auroc", "AUROC", "", 1, "how often a row out of distribution is more uncertain than a "
           "test row: 0.5 is a guess, and 1 is right"),
    Metric("confidence", "Confidence", "%", 100, "mean probability of the most probable class"),
)  # fmt: skip


def metric(key: str) -> Metric:
    """The known metric, or one with the key as its name.

    >>> metric("ece").label, metric("mean_width").label
    ('ECE, %', 'mean width')
    """
    found = (q for q in KNOWN if q.key == key)
    return next(found, Metric(key, key.replace("_", " ")))


def in_order(keys: Iterable[str]) -> list[Metric]:
    """The metrics, each once: the known ones as in KNOWN, then the others by name."""
    order = [q.key for q in KNOWN]
    unique = sorted(set(keys), key=lambda k: (order.index(k) if k in order else len(order), k))
    return [metric(key) for key in unique]


def number(value: float, digits: int = 4) -> str:
    """A number for people, without zeros at its end; NaN is "undefined".

    >>> number(0.123456), number(12345678.0), number(float("inf")), number(-2.0)
    ('0.1235', '1.235e7', '∞', '−2')
    """
    return _written(value, f".{digits}g")


def padded(value: float, digits: int = 4) -> str:
    """A number with all its digits, for columns of a table.

    >>> padded(8.2, 3), padded(0.0, 3), padded(100.0, 3), padded(1e-9, 3)
    ('8.20', '0.00', '100', '1.00e−9')
    """
    return _written(value, f"#.{digits}g")


def _written(value: float, form: str) -> str:
    if math.isnan(value):
        return "undefined"
    sign = "−" if value < 0 else ""
    if math.isinf(value):
        return f"{sign}∞"
    mantissa, e, exponent = f"{abs(value):{form}}".partition("e")
    power = str(int(exponent)).replace("-", "−") if e else ""
    return f"{sign}{mantissa.rstrip('.')}{e}{power}"
