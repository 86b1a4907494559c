"""The source of a weight's or bias's codes: a constant, one of several, or these under a mask."""

from __future__ import annotations

from dataclasses import dataclass

from qbnnc.backends.c.scope import Scope
from qbnnc.ir.graph import Node, Value
from qbnnc.ir.ops.choice import Choice
from qbnnc.ir.ops.dropout import Select
from qbnnc.ir.ops.sampling import SampledWeightInteger
from qbnnc.ir.types import Array


@dataclass(frozen=True, slots=True)
class Parameter:
    """Constants [M, *shape] that a weight or bias is one of; M is 1 where there is no `index`.

    `select` is the node that drops elements, if one does.
    """

    codes: Array
    index: Value | None = None
    select: Node | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of each constant."""
        return tuple(self.codes.shape[1:])

    @property
    def outputs(self) -> int:
        return self.shape[0]


def parameter(value: Value, scope: Scope) -> Parameter | None:
    """The source of a weight or bias; None if it is sampled. ValueError for any other."""
    if (array := scope.graph.constants.get(value)) is not None:
        return Parameter(array[None])
    node = scope.producers[value]
    match node.op:
        case SampledWeightInteger():
            return None
        case Choice() if node.inputs[0] in scope.graph.constants:
            return Parameter(scope.graph.constants[node.inputs[0]], node.inputs[1])
        case Select():
            source = parameter(node.inputs[0], scope)
            if source is not None and source.select is None:
                return Parameter(source.codes, source.index, node)
    raise ValueError(f"a weight or bias that {node.op.name} makes of what is no constant")
