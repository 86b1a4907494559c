"""The parts of a Model: nodes, sizes, proofs, memory."""

from qbnnc.inspection.report import Inspection, inspect

__all__ = ["Inspection", "inspect"]
