"""The forms of a layer whose input is a value of the row times a dropout mask."""

from enum import Enum


class MaskedForm(Enum):
    """The way in which a layer under a dropout mask is computed for each sample."""

    DIRECT = "direct"  # all products, on the codes that the mask leaves
    TABLE = "table"  # sums of the row, less what the dropped units add, from a table
    RECOMPUTE = "recompute"  # sums of the row, less the products of the dropped units
