"""The distribution check: the FLOAT graph is compared with the module that was trained."""

from qbnnc.frontend.distribution.check import (
    DistributionError,
    Effort,
    Report,
    Subject,
    check_distribution,
)
from qbnnc.frontend.distribution.reference import Reference
from qbnnc.frontend.distribution.samples import reference_samples
from qbnnc.frontend.distribution.statistics import Quantity

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
