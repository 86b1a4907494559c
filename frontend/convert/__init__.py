"""A functional aten program to a FLOAT graph: one rule an op, in a file a family."""

from qbnnc.frontend.convert.convert_program import convert, convert_with_draws
from qbnnc.frontend.convert.draw_sources import Converted, DrawSource

__all__ = ["Converted", "DrawSource", "convert", "convert_with_draws"]
