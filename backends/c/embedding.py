"""Rows of tables by ids, and the input of a network that takes ids alone."""

from __future__ import annotations

import numpy as np

from qbnnc.backends.c.parts import Part
from qbnnc.backends.c.program import Constants
from qbnnc.backends.c.scope import Scope
from qbnnc.ir.graph import Graph, Node
from qbnnc.ir.ids import holds_only_ids, raw_values, vocabularies


def number_type(graph: Graph) -> str:
    """The C type of the numbers of a row: int32_t where all are ids."""
    return "int32_t" if holds_only_ids(graph) else "float"


def embed(node: Node, scope: Scope) -> None:
    """Copy rows of the table; what moves the ids before is in the places of the record."""
    ids, table = node.inputs
    source, out = raw_values(scope.graph)[ids].reshape(-1), scope.make(node.output)
    shape, program = node.output.type.shape, scope.program
    planes = shape[0] if len(shape) == 3 else 1
    in_order = np.array_equal(source, np.arange(source.size))
    places = "NULL" if in_order else program.constants.array(source, "int32_t")
    codes = program.constants.array(scope.graph.constants[table], "uint8_t")
    sizes = (*table.type.shape, planes, source.size // planes)
    program.parts.add(Part.EMBEDDING)
    record = program.record("qb_embedding", [places, codes, *sizes])
    scope.step(scope.phase(node.output), "qb_embed", record, "x", out)


def id_check(graph: Graph, constants: Constants) -> str:
    """C that sets `error` where a number of the row x is no id of its vocabulary; "" of numbers."""
    known = vocabularies(graph)
    if known is None or not holds_only_ids(graph):
        return ""
    flat, limit, free = known.reshape(-1), str(known.max()), ""
    if (flat != flat[0]).any():
        limit = f"{constants.array(flat, 'int32_t')}[i]"
        free = f"{limit} != 0 && " if (flat == 0).any() else ""
    return f"""  {{
    int32_t i;
    for (i = 0; i < {flat.size}; i++)
      if ({free}(x[i] < 0 || x[i] >= {limit})) error = 1;
  }}
"""
