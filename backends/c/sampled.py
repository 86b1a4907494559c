"""Layers whose weights are drawn for each sample, and sampled biases (section 6)."""

from __future__ import annotations

import numpy as np

from qbnnc.backends.c.ends import End
from qbnnc.backends.c.fixed_point import FixedPoint, Int64, fit, steps
from qbnnc.backends.c.geometry import Geometry, conv_record
from qbnnc.backends.c.parameters import parameter
from qbnnc.backends.c.parts import Part
from qbnnc.backends.c.program import Buffer
from qbnnc.backends.c.scope import Scope
from qbnnc.backends.c.values import Held
from qbnnc.ir.arithmetic import quantize
from qbnnc.ir.graph import Node, Value
from qbnnc.ir.ops.base import codes_of
from qbnnc.ir.ops.integer import LinearInteger
from qbnnc.ir.ops.sampling import EpsCodes, SampledWeightInteger
from qbnnc.ir.types import Array


def emit(node: Node, geometry: Geometry, end: End, scope: Scope) -> None:
    """Emit a layer with sampled weights."""
    x, weight, bias_value = node.inputs
    drawing = _record(scope.producers[weight], geometry.taps, scope)
    zero = codes_of(x.type).per_tensor[1]
    conv = conv_record(scope.program, geometry, ("NULL", "NULL"), zero, end.window)
    offset = plain_bias(bias_value, scope)
    phase = scope.phase(end.value)
    common = conv, drawing, end.record, offset, "st->seed", "sample", scope.held(x)
    if isinstance(node.op, LinearInteger):
        scope.step(phase, "qb_linear_sampled", *common, end.out)
        return
    copy = scope.scratch("uint8_t", geometry.gathered)
    filter_ = Buffer("int16_t", geometry.taps)
    scope.step(phase, "qb_convolve_sampled", *common, copy, filter_, end.out)


def plain_bias(value: Value, scope: Scope) -> Held | Buffer:
    """The place of a bias [O], which is drawn if it is sampled."""
    if parameter(value, scope) is None:
        return bias(value, "NULL", scope)
    return scope.held(value)


def bias(value: Value, plus: Held | str, scope: Scope) -> Buffer:
    """Emit the drawing of a bias [O], to which `plus` is added."""
    record = _record(scope.producers[value], 1, scope)
    out = Buffer("int32_t", value.type.size)
    scope.step(scope.phase(value), "qb_draw_bias", record, plus, "st->seed", "sample", out)
    return out


def _record(node: Node, inputs: int, scope: Scope) -> str:
    op = node.op
    if not isinstance(op, SampledWeightInteger):
        raise ValueError(f"weights that {node.op.name} makes")
    mu, sigma, ratio, divisor = (scope.graph.constants[node.inputs[i]] for i in (0, 1, 3, 4))
    eps = scope.producers[node.inputs[2]].op
    if not isinstance(eps, EpsCodes):
        raise ValueError(f"noise that {eps.name} makes")
    constants, outputs = scope.program.constants, mu.size // inputs
    scope.program.parts.add(Part.SAMPLED)
    ratios, divisors = (_of_outputs(a, outputs) for a in (ratio, divisor))
    zeros = np.asarray(op.quant.zero_point, np.int32)
    lanes = "NULL"
    if len(node.inputs) > 5:
        lanes = constants.array(scope.graph.constants[node.inputs[5]], "uint32_t")
    fixed = _fixed(op, mu.reshape(outputs, -1), sigma.reshape(outputs, -1), ratios, divisors)
    return scope.program.record(
        "qb_sampled",
        [
            *(constants.array(a, "int8_t") for a in (mu, sigma)),
            constants.array(ratios, "int32_t"),
            constants.array(divisors, "float"),
            lanes,
            *_fixed_arrays(fixed, scope),
            constants.array(zeros, "int32_t"),
            outputs,
            inputs,
            *(int(a.size > 1) for a in (ratios, divisors, zeros)),
            op.quant.low,
            op.quant.high,
            f"{eps.stream}u",
        ],
    )


def _of_outputs(array: Array, outputs: int) -> Array:
    """One number, or one for each output; ValueError if a number belongs to an input."""
    if array.size == 1 or (array.size == outputs == array.shape[0]):
        return array.reshape(-1)
    raise ValueError("scales of single inputs of a sampled weight")


def _fixed(
    op: SampledWeightInteger, mu: Array, sigma: Array, ratio: Array, divisor: Array
) -> list[FixedPoint | None]:
    """Prove the rounding of each output as an integer multiplication and a shift, if it is one."""
    outputs, (low, high) = len(mu), (op.quant.low, op.quant.high)
    if op.quant.bits > 8:
        return []
    reach: Int64 = 127 * np.abs(sigma.astype(np.int64)).max(1) + np.broadcast_to(
        ratio, (outputs,)
    ) * np.abs(mu.astype(np.int64)).max(1)
    each = np.broadcast_to(divisor, (outputs,)).astype(np.float32)[:, None]
    zeros = np.broadcast_to(np.asarray(op.quant.zero_point, np.int32), (outputs,))

    def exact(t: Int64) -> Int64:
        codes = quantize(t.astype(np.float32), each, zeros[:, None], low, high)
        return codes.astype(np.int64)

    at = steps(exact, low, high, -reach, reach)
    return [
        fit(
            1 / float(each[n, 0]),
            range(low + 1 - int(zeros[n]), high + 1 - int(zeros[n])),
            at[n].tolist(),
            -int(reach[n]),
            int(reach[n]),
        )
        for n in range(outputs)
    ]


def _fixed_arrays(fixed: list[FixedPoint | None], scope: Scope) -> list[str]:
    if not any(fixed):
        return ["NULL"] * 3
    constants = scope.program.constants
    rows = ((f.multiplier, f.addend, f.shift) if f else (0, 0, 32) for f in fixed)
    columns = zip(*rows, strict=True)
    types = "int32_t", "int64_t", "uint8_t"
    return [constants.array(c, t) for c, t in zip(columns, types, strict=True)]
