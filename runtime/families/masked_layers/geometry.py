"""The widths of loops over masked layers, which lowering pads tables and weights to."""

from __future__ import annotations

from qbnnc.runtime.isa import chosen

LANES = chosen().lanes  # int32 numbers of a vector
TURN = 8  # lanes of a mask that are compared at a time
WHOLE = 16  # elements, of which a row of a table has a whole number
STRIP = 8  # vectors of a row whose sums stay in registers
REPEATED = STRIP * 16  # numbers that follow one for each filter, of the widest strip
BLOCK = 16  # filters whose weights lie together, so that a line of them has 64 bytes
