"""Limits of a model: one bound for everything that a file or a network chooses.

They hold at every stage, for files and for networks alike (docs/reference/limits.md says why
each is what it is). Below them no product of extents, offsets and codes that a
backend forms leaves its int32 or int64. An image with its padding
has at most 2^27 elements: offsets into it fit int32, also in bytes of float32 numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limit:
    """A bounded quantity, and its bounds, which are whole numbers."""

    what: str
    most: int
    least: int = 0

    def check(self, value: int) -> None:
        """ValueError, with the value and the limit, unless it is within them."""
        if not self.least <= value <= self.most:
            bound = f"at most {self.most}" if value > self.most else f"at least {self.least}"
            raise ValueError(f"{self.what}: {shown(value)}, and it must be {bound}")


AXES = Limit("the number of axes of a value", 16)
ELEMENTS = Limit("the number of elements of a value", 2**27, 1)
CONSTANT_ELEMENTS = Limit("the number of elements of a constant", 2**32, 1)
EXTENT = Limit("the extent of an axis", 2**27, 1)
PADDED = Limit("the number of elements of an image with its padding", 2**27, 1)
KERNEL = Limit("the kernel", 2**24, 1)
STRIDE = Limit("the stride", 2**24, 1)
DILATION = Limit("the dilation", 2**24, 1)
PADDING = Limit("the padding", 2**20)
FACTOR = Limit("the factor", 2**20, 1)
GROUPS = Limit("the number of groups", 2**20, 1)
OPERANDS = Limit("the number of inputs of an op", 2**12)
SCALES = Limit("the number of scales of a value", 2**20, 1)
STEPS = Limit("the number of steps of a composite", 2**12, 1)
NODES = Limit("the number of ops of a network", 2**16)
ALL_NODES = Limit("the number of ops of all members", 2**17)
CONSTANTS = Limit("the number of constants of a network", 2**17)
OUTPUTS = Limit("the number of outputs", 2**10, 1)
MEMBERS = Limit("the number of members", 2**12, 1)
CHOICES = Limit("the number of members to choose from", 2**12, 2)
VOCABULARY = Limit("the number of rows of a table", 2**24, 1)
DRAWS = Limit("the number of draws", 10**6, 1)
STREAM = Limit("the number of a random stream", 2**32 - 1)
RATIO = Limit("the ratio R of a sampled weight", 65535, 1)
NOISE = Limit("the elements of a noise tensor that weights take together", 2**12)
SLOPES = Limit("the slopes of weights at the elements of a noise tensor", 2**26)
NAME = Limit("the length of a name", 2**10)
TEXT = Limit("the length of a text", 2**16)
HEADER = Limit("the bytes of a file's header", 2**26)
NESTING = Limit("the depth of a record", 32)
NUMBER = Limit("a whole number of a record", 2**63 - 1, -(2**63))

_MOST_DIGITS = 24


def shown(value: int) -> str:
    """A whole number of any length, short enough to read."""
    if abs(value) < 10**_MOST_DIGITS:
        return str(value)
    return f"{'-' if value < 0 else ''}2^{abs(value).bit_length() - 1} or more"


def check_shape(shape: Sequence[int], elements: Limit = ELEMENTS) -> None:
    """ValueError unless a value may have this shape: [axes], without the batch and the samples."""
    AXES.check(len(shape))
    count = 1
    for extent in shape:
        EXTENT.check(extent)
        count *= extent
    elements.check(count)
