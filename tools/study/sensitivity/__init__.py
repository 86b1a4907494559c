"""The cost of each layer at fewer bits, and bits for every layer by a budget."""

from qbnnc.passes.mixed_precision.analysis import Cost, Progress, Sensitivities, Tried
from qbnnc.passes.mixed_precision.budget import Budget
from qbnnc.passes.mixed_precision.layers import Layer
from qbnnc.passes.mixed_precision.search import Choice, Step
from qbnnc.study.sensitivity.api import choose_bits, sensitivity

__all__ = [
    "Budget",
    "Choice",
    "Cost",
    "Layer",
    "Progress",
    "Sensitivities",
    "Step",
    "Tried",
    "choose_bits",
    "sensitivity",
]
