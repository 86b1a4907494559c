"""The lowering of noise on activations."""

from __future__ import annotations

from qbnnc.ir.graph import Node
from qbnnc.ir.ops import NoiseCodes
from qbnnc.runtime.families.noise import instructions as ins
from qbnnc.runtime.layout import grid, same_order
from qbnnc.runtime.lowering import Lower, Lowering
from qbnnc.support.table import Table

LOWERINGS = Table[type, Lower]()


@LOWERINGS.of(NoiseCodes)
def noise_codes(lowering: Lowering, node: Node, op: NoiseCodes) -> None:
    pixels, channels = grid(op.shape)
    if same_order(op.shape):  # the kernel's inner loop runs over pixels
        pixels, channels = pixels * channels, 1
    instruction = ins.NoiseCodes(
        output=lowering.made(node.output),
        scratch=lowering.scratch(node, 8 * -(-pixels * channels // 4)),
        table=lowering.constants.add(op.table),
        stream=op.stream,
        shared=op.shared,
        channels=channels,
        pixels=pixels,
    )
    lowering.emit(node, instruction)
