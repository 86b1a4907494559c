"""A functional aten program to a FLOAT graph, by one rule for each op.

`convert_program` visits each node, and `op_rules` finds its rule. `ops` holds the rules of ops that
compute with the input, one file a family. `noise` recognises random numbers. `dropout_masks` and
`sampled_weights` recognise what is made of them.
"""

from qbnnc.frontend.convert.convert_program import convert, convert_with_draws
from qbnnc.frontend.convert.draw_sources import Converted, DrawSource

__all__ = ["Converted", "DrawSource", "convert", "convert_with_draws"]
