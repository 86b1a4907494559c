"""Random numbers that are no masks: noise on activations, and which constant is chosen."""

from __future__ import annotations

from math import prod

from qbnnc.backends.c.parts import Part
from qbnnc.backends.c.scope import Scope
from qbnnc.ir.graph import Node
from qbnnc.ir.ops.choice import ChoiceIndex
from qbnnc.ir.ops.noise import NoiseCodes

_LANES = 2**16


def noise(node: Node, op: NoiseCodes, scope: Scope) -> None:
    """Draw the codes of noise: lanes are in PyTorch's order, codes where others expect them."""
    out = scope.make(node.output)
    image = len(op.shape) == 3
    channels, plane = (op.shape[0], prod(op.shape[1:])) if image else (1, prod(op.shape))
    # Every lane reaches 0, and none 65536: what is left fits 16 bits.
    inside = [t for t in op.thresholds if 0 < t < _LANES]
    thresholds = scope.program.constants.array(inside, "uint16_t") if inside else "NULL"
    record = scope.program.record(
        "qb_noise",
        [
            thresholds,
            len(inside),
            op.thresholds.count(0),
            channels,
            plane,
            *((1, channels) if image else (plane, 1)),
            f"{(_LANES - 1) * op.inverted}u",
        ],
    )
    scope.program.parts.add(Part.NOISE)
    key, row = _key_and_row(op, scope)
    scope.step(scope.phase(node.output), "qb_noise_codes", record, key, row, out)


def choice_index(node: Node, op: ChoiceIndex, scope: Scope) -> None:
    """Draw the number of a constant."""
    scope.program.parts.add(Part.CHOICE)
    count, out = scope.program.number(op.count), scope.make(node.output)
    key, row = _key_and_row(op, scope)
    scope.step(scope.phase(node.output), "qb_choose", key, row, count, out)


def _key_and_row(op: NoiseCodes | ChoiceIndex, scope: Scope) -> tuple[str, str]:
    key = f"qb_sample_key(st->seed, {op.stream}u, sample)"
    return key, "0" if op.shared else "st->row"
