"""Graphs in PyTorch: trained with simulated quantisation, or evaluated with the oracle's noise."""

from qbnnc.backends.torch.evaluate import torch_samples
from qbnnc.backends.torch.quantizers import Ranges
from qbnnc.backends.torch.simulation import Simulation

__all__ = ["Ranges", "Simulation", "torch_samples"]
