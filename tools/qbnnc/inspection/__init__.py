"""What a Model is made of: nodes, sizes, proofs, memory."""

from qbnnc.inspection.report import Inspection, inspect

__all__ = ["Inspection", "inspect"]
