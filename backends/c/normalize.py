"""Normalisation by groups: one call of the library."""

from __future__ import annotations

from qbnnc.backends.c.parts import Part
from qbnnc.backends.c.scope import Scope
from qbnnc.ir.graph import Node
from qbnnc.ir.norm_groups import GroupParameters, Groups
from qbnnc.ir.ops.base import codes_of
from qbnnc.ir.ops.normalize import NormalizeInteger


def normalize(node: Node, op: NormalizeInteger, scope: Scope) -> None:
    """Normalise every group of a value."""
    x, weight, bias = node.inputs
    shape, constants = x.type.shape, scope.graph.constants
    groups = Groups.of(shape, op.axes)
    parameters = GroupParameters.of(constants[weight], constants[bias], shape, op.axes)
    scope.program.parts.add(Part.NORMALIZE)
    record = scope.program.record(
        "qb_norm",
        [
            *(float(number).hex() for number in (op.eps, op.outer_eps, op.floor)),
            scope.program.constants.array(parameters.weight, "float"),
            scope.program.constants.array(parameters.bias, "float"),
            groups.outer,
            groups.inner,
            groups.count,
            groups.outer_step,
            groups.inner_step,
            groups.step,
            parameters.outer_step,
            parameters.inner_step,
            parameters.run,
            int(op.centred),
            codes_of(x.type).per_tensor[1],
            op.quant.per_tensor[1],
            op.low,
            op.high,
        ],
    )
    source, out = scope.held(x), scope.make(node.output)
    scope.step(scope.phase(node.output), "qb_normalize", record, source, out)
