"""A functional aten program to a FLOAT graph: one rule an op, in a file a family."""

from qbnnc.frontend.convert.walk import convert

__all__ = ["convert"]
