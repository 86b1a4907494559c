"""INTEGER models as C99: one file that needs no heap, no library and no operating system."""

from qbnnc.backends.c.costs import Costs, read_costs
from qbnnc.backends.c.project import check_project_name, project
from qbnnc.backends.c.source import Source, check_name, identifier, to_c
from qbnnc.backends.c.vectors import golden_program

__all__ = [
    "Costs",
    "Source",
    "check_name",
    "check_project_name",
    "golden_program",
    "identifier",
    "project",
    "read_costs",
    "to_c",
]
