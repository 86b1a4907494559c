"""The module as its user calls it: torch's fused forms of layers may compute other numbers.

Every other call of the check runs under a function mode, which switches these forms off.
nn.TransformerEncoder has one in eval(): it leaves padded positions out, and puts zeros there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import nn

from qbnnc.frontend.distribution.coupled_calls import as_array, first_unequal, graph_outputs
from qbnnc.frontend.distribution.reference import Reference
from qbnnc.ir.graph import Graph


@dataclass(frozen=True, slots=True)
class PlainUnequal:
    """The first value that differs in a plain call."""

    output: int
    row: int
    module: float
    graph: float


def plain_unequal(
    reference: Reference, graph: Graph, x: NDArray[np.float32]
) -> PlainUnequal | None:
    """Compare a plain call on the rows x [B, *shape] with a graph without noise; None if equal.

    Also None if two plain calls differ: forward has dropout that only dropout="off" switches off.
    """
    rows = reference.input(x)
    with reference.opened(plain=True) as call:
        made, again = ([as_array(output) for output in call(rows)] for _ in range(2))
    if not all(np.array_equal(a, b, equal_nan=True) for a, b in zip(made, again, strict=True)):
        return None
    for number, ours in enumerate(graph_outputs(graph, x, range(1))):
        found = first_unequal(ours, made[number][None], reference.tolerance)
        if found is not None:
            _, row, module, compiled = found
            return PlainUnequal(number, row, module, compiled)
    return None


def nested_encoder(module: nn.Module) -> str | None:
    """The name of an nn.TransformerEncoder that leaves out padding in eval(); None without one."""
    for name, child in module.named_modules():
        if isinstance(child, nn.TransformerEncoder) and getattr(child, "use_nested_tensor", False):
            return str(name)
    return None
