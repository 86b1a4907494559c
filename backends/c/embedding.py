"""Rows of tables by ids, and the input of a network that takes ids alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qbnnc.backends.c.arguments import argument_names
from qbnnc.backends.c.parts import Part
from qbnnc.backends.c.program import Constants
from qbnnc.backends.c.scope import Scope
from qbnnc.ir.graph import Graph, Node
from qbnnc.ir.ids import holds_only_ids, ids_within, vocabularies
from qbnnc.ir.inputs import input_values, inputs_of


def number_type(graph: Graph) -> str:
    """The C type of the numbers of a row: int32_t where all are ids."""
    return "int32_t" if holds_only_ids(graph) else "float"


def embed(node: Node, scope: Scope) -> None:
    """Copy rows of the table; what moves the ids before is in the places of the record."""
    ids, table = node.inputs
    entry, places_in_it = ids_within(scope.graph, ids)
    source, out = places_in_it.reshape(-1), scope.make(node.output)
    shape, program = node.output.type.shape, scope.program
    planes = shape[0] if len(shape) == 3 else 1
    in_order = np.array_equal(source, np.arange(source.size))
    places = "NULL" if in_order else program.constants.array(source, "int32_t")
    codes = program.constants.array(scope.graph.constants[table], "uint8_t")
    sizes = (*table.type.shape, planes, source.size // planes)
    program.parts.add(Part.EMBEDDING)
    record = program.record("qb_embedding", [places, codes, *sizes])
    scope.step(scope.phase(node.output), "qb_embed", record, scope.input_pointer(entry), out)


def id_check(graph: Graph, constants: Constants) -> str:
    """C that sets `error` where a number of an input is no id of its vocabulary; "" of numbers."""
    known, entries = vocabularies(graph), inputs_of(graph)
    if known is None:
        return ""
    whole, text = known.reshape(-1), ""
    each = zip(argument_names(entries), entries, input_values(graph), strict=True)
    for name, entry, value in each:
        if holds_only_ids(graph, value):
            text += _check(name, whole[entry.start : entry.start + entry.size], constants)
    return text


def _check(name: str, known: NDArray[np.int64], constants: Constants) -> str:
    """The check of one input. NaN is none of the numbers that it lets through."""
    limit, free = str(known.max()), ""
    if (known != known[0]).any():
        limit = f"{constants.array(known, 'int32_t')}[i]"
        free = f"{limit} != 0 && " if (known == 0).any() else ""
    return f"""  {{
    int32_t i;
    for (i = 0; i < {known.size}; i++)
      if ({free}!({name}[i] >= 0 && {name}[i] < {limit})) error = 1;
  }}
"""
