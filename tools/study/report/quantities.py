"""The quantities a report shows: their names, units, and what they mean."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Quantity:
    """One metric: shown as `factor` times what a row holds, in `unit`."""

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


_AXIS: Final = 21  # so many characters of a label fit along a panel's axis

# In the order in which they are shown.
KNOWN: Final = (
    Quantity("error", "Error", "%", 100, "share of the rows whose most probable class is wrong"),
    Quantity("rmse", "RMSE", "target units", 1, "root of the mean squared error of the mean"),
    Quantity(
        "nll", "NLL", "nats", 1, "mean negative log-likelihood of the targets; less is better"
    ),
    Quantity(
        "ece",
        "ECE",
        "%",
        100,
        "expected calibration error: how far confidence and accuracy are apart, over bins of "
        "confidence",
    ),
    Quantity("brier", "Brier score", "", 1, "mean squared error of the probabilities"),
    Quantity(
        "ape",
        "aPE",
        "nats",
        1,
        "average predictive entropy, of the probabilities averaged over the samples; should be "
        "low on test data and high on confusion data",
    ),
    Quantity(
        "mutual_information",
        "MI",
        "nats",
        1,
        "mutual information of output and weights: the part of the predictive entropy that comes "
        "from not knowing the weights",
    ),
    Quantity(
        "epistemic_std",
        "Epistemic std",
        "target units",
        1,
        "median standard deviation of the mean between samples: what the weights leave open",
    ),
    Quantity(
        "aleatoric_std",
        "Aleatoric std",
        "target units",
        1,
        "median standard deviation that the network predicts: noise in the targets",
    ),
    Quantity("confidence", "Confidence", "%", 100, "mean probability of the most probable class"),
)


def quantity(key: str) -> Quantity:
    """The known quantity, or one with the key as its name.

    >>> quantity("ece").label, quantity("mean_width").label
    ('ECE, %', 'mean width')
    """
    found = (q for q in KNOWN if q.key == key)
    return next(found, Quantity(key, key.replace("_", " ")))


def in_order(keys: Iterable[str]) -> list[Quantity]:
    """Each once: the known ones as in KNOWN, then the others by name."""
    order = [q.key for q in KNOWN]
    unique = sorted(set(keys), key=lambda k: (order.index(k) if k in order else len(order), k))
    return [quantity(key) for key in unique]


def number(value: float, digits: int = 4) -> str:
    """A number a person reads, without zeros at its end; words for what is none.

    >>> number(0.123456), number(12345678.0), number(float("inf")), number(-2.0)
    ('0.1235', '1.235e7', '∞', '−2')
    """
    return _written(value, f".{digits}g")


def padded(value: float, digits: int = 4) -> str:
    """The same with all its digits, for columns of a table.

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
