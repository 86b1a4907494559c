"""The scratch space of contractions, as lowering reserves it and their kernels divide it."""

from __future__ import annotations

from qbnnc.runtime.isa import Isa
from qbnnc.runtime.packing import PANEL

POSITIONS = 1024  # of a convolution, whose addresses are computed at a time
SUMS = 48  # positions whose accumulators are stored at a time
SCRATCH = 16 * POSITIONS + (4 * PANEL + 8) * SUMS  # bytes, without the halo

TILE_NUMBERS = 16  # of a transformed tile in Winograd's form
TILE_PANEL = Isa.AVX2.panels[0]  # output channels at a time, in Winograd's form
APART = 64  # bytes between numbers of a tile, so that their addresses do not share cache sets


def input_pitch(tiles: int, channels: int) -> int:
    """Return the bytes from one number of Winograd's v to the next, which are no power of 2.

    With a power of 2 all numbers would share one set of the cache.
    """
    return 2 * tiles * channels + APART


def filter_pitch(channels: int) -> int:
    """Return the bytes from one number of Winograd's u to the next."""
    return 2 * TILE_PANEL * channels + APART


def winograd_bytes(tiles: int, channels: int, filters: int) -> int:
    """Return the size of the scratch space of Winograd's form.

    It holds addresses, a patch, v, m and u, and takes outputs beyond the image.
    """
    of_numbers = input_pitch(tiles, channels) + 4 * tiles * TILE_PANEL + APART
    of_numbers += filter_pitch(channels)
    return 48 * tiles + 16 * channels + TILE_NUMBERS * of_numbers + filters
