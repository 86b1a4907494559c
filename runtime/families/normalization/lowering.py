"""The lowering of normalisation."""

from __future__ import annotations

import numpy as np

from qbnnc.ir.graph import Node
from qbnnc.ir.norm_groups import GroupParameters, Groups
from qbnnc.ir.ops import NormalizeInteger
from qbnnc.ir.ops.base import codes_of
from qbnnc.runtime.families.normalization import instructions as ins
from qbnnc.runtime.lowering import Lower, Lowering
from qbnnc.support.table import Table

LOWERINGS = Table[type, Lower]()


@LOWERINGS.of(NormalizeInteger)
def normalize(lowering: Lowering, node: Node, op: NormalizeInteger) -> None:
    x, groups = node.inputs[0].type, Groups.of(node.inputs[0].type.shape, op.axes)
    weight, bias = (lowering.constant(node, i, what) for i, what in ((1, "weight"), (2, "bias")))
    parameters = GroupParameters.of(weight, bias, x.shape, op.axes)
    numbers = np.array([op.eps, op.outer_eps, op.floor], np.float64)
    instruction = ins.Normalize(
        output=lowering.made(node.output),
        input=lowering.codes(node, 0),
        numbers=lowering.constants.add(numbers),
        weight=lowering.constants.add(parameters.weight),
        bias=lowering.constants.add(parameters.bias),
        zero_in=codes_of(x).per_tensor[1],
        zero=op.quant.per_tensor[1],
        low=op.low,
        high=op.high,
        centred=op.centred,
        outer=groups.outer,
        inner=groups.inner,
        count=groups.count,
        outer_step=groups.outer_step,
        inner_step=groups.inner_step,
        step=groups.step,
        parameter_outer=parameters.outer_step,
        parameter_inner=parameters.inner_step,
        run=parameters.run,
    )
    lowering.emit(node, instruction)
