"""Sampled weights: noise by a table, then w = mu + sigma * eps (docs/semantics.md, section 6)."""

from __future__ import annotations

import numpy as np
import onnx_ir

from qbnnc.backends.onnx.scope import Scope
from qbnnc.backends.onnx.streams import Stream, lanes_of_each
from qbnnc.backends.onnx.writer import Attribute
from qbnnc.ir.graph import Node
from qbnnc.ir.ops import SampledWeightInteger
from qbnnc.ir.rng import LANES_PER_WORD, eps_table
from qbnnc.ir.types import QuantParams
from qbnnc.support.errors import CompileError

_TO_FLOAT, _TO_INT32 = int(onnx_ir.DataType.FLOAT), int(onnx_ir.DataType.INT32)
_EXACT_IN_FLOAT32 = 2**24
_INT32_ZERO = onnx_ir.tensor(np.zeros(1, np.int32))


def write_noise(scope: Scope, group: list[Stream], words: onnx_ir.Value) -> None:
    """Write every EpsCodes of a group as a value of `scope`; `words` u64 [L, 1, words].

    There is one table for the whole file. GatherElements on one axis reads it: Gather is twelve
    times slower.
    """
    writer, prefix = scope.writer, scope.prefix
    lanes = writer.call("lanes", words, out=f"{prefix}random/noise_lanes")
    flat = writer.op("Reshape", lanes, writer.ints(-1), out=f"{prefix}random/places")
    table = _table(scope)
    codes = writer.op("GatherElements", table, flat, out=f"{prefix}random/codes", axis=0)
    count = LANES_PER_WORD * sum(s.words for s in group)
    shape = writer.ints(scope.layout.samples, 1, count)
    eps = writer.op("Reshape", codes, shape, out=f"{prefix}random/eps")
    for stream, own in lanes_of_each(scope, group, eps):
        scope.layout.merge(own, stream.op.shape, scope.result(stream.output))


def _table(scope: Scope) -> onnx_ir.Value:
    """eps of each lane, i8 [65536], from the lanes where it grows by one.

    onnxruntime computes it once, when it loads the file, which is 64 kB smaller for it.
    """
    writer, table = scope.writer, eps_table().astype(np.int64)
    steps = np.flatnonzero(np.diff(table)) + 1
    if len(steps) != table[-1] - table[0] or np.diff(table).max() != 1:
        raise CompileError("the table of eps does not grow by steps of one", "the random numbers")
    size = writer.ints(len(table))
    flat = writer.op("ConstantOfShape", size, out="random/no_steps", value=_INT32_ZERO)
    ones = writer.constant(np.ones(len(steps), np.int32))
    places = writer.constant(steps)
    marked = writer.op("ScatterElements", flat, places, ones, out="random/steps", axis=0)
    axis = writer.constant(np.array(0, np.int64))
    count = writer.op("CumSum", marked, axis, out="random/count")
    least = writer.constant(np.array(table[0], np.int32))
    codes = writer.op("Add", count, least, out="random/eps_codes")
    return writer.op("Cast", codes, out="random/eps_table", to=int(onnx_ir.DataType.INT8))


def sampled_weight(scope: Scope, node: Node, op: SampledWeightInteger) -> None:
    """Write quant(f32(q_eps * q_sigma + R * q_mu), r, Z_w, lo, hi): [L, *shape].

    Both products are integers below 2^24, so that their float32 is exact, and the sum has the one
    rounding of f32(..). These are the integers' own bits, without int32 in between. mu and sigma
    are stored as int8; onnxruntime computes R * mu once, when it loads the file.
    """
    writer, name = scope.writer, scope.name(node.output)
    mu, sigma, _, ratio, divisor = node.inputs[:5]
    factor = scope.constant(ratio, node)
    if np.abs(factor.astype(np.int64) * scope.constant(mu, node)).max() > _EXACT_IN_FLOAT32:
        raise CompileError("R * mu is above 2^24 and not exact in float32", node.loc)
    centre, spread, eps = (
        writer.op("Cast", v, out=f"{name}/{what}", to=_TO_FLOAT)
        for what, v in (
            ("mu", scope.stored(mu)),
            ("sigma", scope.stored(sigma)),
            ("eps", _arranged(scope, node)),
        )
    )
    scaled = writer.constant(factor.astype(np.float32))
    centre = writer.op("Mul", centre, scaled, out=f"{name}/centre")
    noise = writer.op("Mul", eps, spread, out=f"{name}/noise")
    total = writer.op("Add", noise, centre, out=f"{name}/sum")
    scale = writer.constant(scope.constant(divisor, node))
    _quantize(scope, node, writer.op("Div", total, scale, out=f"{name}/scaled"))


def _arranged(scope: Scope, node: Node) -> onnx_ir.Value:
    """The noise of each element of the weight, i8 [L, *shape]: in order, or by an index.

    The index takes 1-D GatherElements over all samples at once: Gather along an axis is seven
    times slower.
    """
    writer, name, eps = scope.writer, scope.name(node.output), node.inputs[2]
    shape, stored = writer.ints(-1, *node.output.type.shape), scope.stored(eps)
    if len(node.inputs) < 6:
        if eps.type.shape == node.output.type.shape:
            return stored
        return writer.op("Reshape", stored, shape, out=f"{name}/eps_shaped")
    index = scope.constant(node.inputs[5], node) % eps.type.size
    starts = eps.type.size * np.arange(scope.layout.samples, dtype=np.int64)
    first = writer.constant(starts.reshape(-1, *[1] * index.ndim))
    place = writer.constant(index.astype(np.int64))
    places = writer.op("Add", first, place, out=f"{name}/places")
    flat = writer.op("Reshape", places, writer.ints(-1), out=f"{name}/flat_places")
    every = writer.op("Reshape", stored, writer.ints(-1), out=f"{name}/flat_eps")
    taken = writer.op("GatherElements", every, flat, out=f"{name}/taken", axis=0)
    return writer.op("Reshape", taken, shape, out=f"{name}/arranged")


def _quantize(scope: Scope, node: Node, real: onnx_ir.Value) -> None:
    """Z + rint(clip(real, lo - Z, hi - Z)): i8 by QuantizeLinear, i32 by Clip and Round."""
    op, writer, name = node.op, scope.writer, scope.name(node.output)
    assert isinstance(op, SampledWeightInteger)
    if op.quant.bits <= 8:
        return _quantize_weight(scope, node, real, op.quant)
    if any(op.quant.zero_point):
        raise CompileError("a sampled bias has the zero point 0", node.loc)
    ends = (writer.constant(np.array(n, np.float32)) for n in (op.quant.low, op.quant.high))
    clipped = writer.op("Clip", real, *ends, out=f"{name}/clipped")
    whole = writer.op("Round", clipped, out=f"{name}/rounded")
    writer.op("Cast", whole, out=scope.result(node.output), to=_TO_INT32)


def _quantize_weight(scope: Scope, node: Node, real: onnx_ir.Value, quant: QuantParams) -> None:
    writer, name = scope.writer, scope.name(node.output)
    zero, attributes = np.asarray(quant.zero_point, np.int8), dict[str, Attribute]()
    if len(set(quant.zero_point)) == 1:
        zero = zero[0].reshape(())
    elif quant.axis is not None:
        attributes["axis"] = quant.axis + 1
    one = writer.constant(np.ones(zero.shape, np.float32))
    parts = (real, one, writer.constant(zero))
    codes = writer.op("QuantizeLinear", *parts, out=f"{name}/unclamped", **attributes)
    ends = (writer.constant(np.array(end, np.int8)) for end in (quant.low, quant.high))
    writer.op("Clip", codes, *ends, out=scope.result(node.output))
