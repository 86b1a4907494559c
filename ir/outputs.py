"""Names of a network's outputs: their meaning, and their spelling in artefacts."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from enum import Enum

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

MEAN = "mean"


class Spread(Enum):
    """The meaning of a regression's second output: how it tells the variance about the mean."""

    LOG_VARIANCE = "log_var"
    VARIANCE = "variance"
    STD = "std"
    LOG_STD = "log_std"

    def variance(self, x: Float64) -> Float64:
        """The variance that each number of this output stands for; inf where it overflows."""
        with np.errstate(over="ignore"):
            match self:
                case Spread.LOG_VARIANCE:
                    return np.exp(x)
                case Spread.VARIANCE:
                    return x
                case Spread.STD:
                    return x * x
                case Spread.LOG_STD:
                    return np.exp(2 * x)

    @property
    def never_negative(self) -> bool:
        return self in (Spread.VARIANCE, Spread.STD)

    @property
    def formula(self) -> str:
        """The aleatoric variance of a sample as a formula, for people."""
        return _FORMULAS[self]


_FORMULAS = {
    Spread.LOG_VARIANCE: "exp(log_var)",
    Spread.VARIANCE: "variance",
    Spread.STD: "std^2",
    Spread.LOG_STD: "exp(2*log_std)",
}
_TELLING = {
    MEAN: "mean means mu mus loc",
    Spread.LOG_VARIANCE.value: "logvar logvars logvariance logv lv lnvar logsigma2 logsigmasq "
    "logsigmasquared logs2 logstd2",
    Spread.VARIANCE.value: "var vars variance variances sigma2 sigmasq sigmasquared s2 std2",
    Spread.STD.value: "std stds stdev stddev standarddeviation sigma sigmas scale sd",
    Spread.LOG_STD.value: "logstd logstdev logstddev logsigma logscale logsd lnsigma",
}
_ROLES = {word: role for role, words in _TELLING.items() for word in words.split()}
# Words that say whose mean or variance it is, and not which.
_NEUTRAL = frozenset("pred predicted prediction y out output aleatoric noise obs target".split())


def role_of(name: str) -> str | None:
    """ "mean" or the value of a Spread, if the name tells it; "pred_logVar" is a log variance.

    >>> [role_of(name) for name in ("mu", "y_logvar", "sigma", "log_std", "out", "rho")]
    ['mean', 'log_var', 'std', 'log_std', None, None]
    """
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)
    words = [w for w in re.split(r"[\W_]+", spaced.lower()) if w and w not in _NEUTRAL]
    return _ROLES.get("".join(words))


def spellings() -> tuple[str, ...]:
    """The names that `output_names` takes for the second output."""
    return tuple(spread.value for spread in Spread)


def identifiers(names: Sequence[str]) -> tuple[str, ...]:
    """The names as parts of identifiers, each once; "" becomes its number.

    NFKC, as Python reads attributes: "µ" and "μ" are one letter.

    >>> identifiers(("gamma", "log var", "log_var", "", "µ"))
    ('gamma', 'log_var', 'log_var_2', '3', 'μ')
    """
    made: list[str] = []
    for number, name in enumerate(names):
        plain = re.sub(r"\W+", "_", unicodedata.normalize("NFKC", name)).strip("_")
        base, count = plain or str(number), 1
        unique = base
        while unique in made:
            count += 1
            unique = f"{base}_{count}"
        made.append(unique)
    return tuple(made)
