"""Whether what is compiled has the distribution of what was trained."""

from qbnnc.frontend.distribution.check import (
    DistributionError,
    Effort,
    Report,
    Subject,
    check_distribution,
)
from qbnnc.frontend.distribution.reference import Reference
from qbnnc.frontend.distribution.statistics import Quantity
from qbnnc.frontend.distribution.whole import reference_samples

__all__ = [
    "DistributionError",
    "Effort",
    "Quantity",
    "Reference",
    "Report",
    "Subject",
    "check_distribution",
    "reference_samples",
]
