"""A functional aten program to a FLOAT graph: one rule an op, in a file a family."""

from qbnnc.frontend.convert.draws import Converted, DrawSource
from qbnnc.frontend.convert.walk import convert, convert_with_draws

__all__ = ["Converted", "DrawSource", "convert", "convert_with_draws"]
