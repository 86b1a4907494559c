"""INTEGER models as C99: one file that needs no heap, no library and no operating system."""

from qbnnc.backends.c.source import Source, identifier, to_c
from qbnnc.backends.c.vectors import golden_program

__all__ = ["Source", "golden_program", "identifier", "to_c"]
