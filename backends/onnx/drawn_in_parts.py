"""Large sampled weights, drawn with their noise a few output channels at a time.

All samples of all weights of a layer can be hundreds of megabytes as random words, and each node
would read and write them in memory. A Scan over groups of channels keeps them in the cache.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np
import onnx_ir

from qbnnc.backends.onnx.noise import noise_codes
from qbnnc.backends.onnx.sampled_weights import Gaussian
from qbnnc.backends.onnx.scope import Scope
from qbnnc.backends.onnx.splitmix64 import mix
from qbnnc.backends.onnx.streams import Stream
from qbnnc.ir.graph import Node
from qbnnc.ir.ops import EpsCodes, SampledWeightInteger
from qbnnc.ir.rng import GOLDEN, LANES_PER_WORD

MOST_WORDS = 1 << 14  # of all samples in a part: 128 kB


def parts_of(scope: Scope, stream: Stream) -> tuple[Node, int] | None:
    """The weight that is drawn in parts with its noise, and how many; None for other streams.

    The noise is the weight's alone, in order. A part is whole channels, and whole words. An inline
    file has no parts.
    """
    weight = scope.graph.only_reader(stream.output)
    if weight is None or not isinstance(stream.op, EpsCodes) or scope.writer.inline:
        return None
    op, shape = weight.op, weight.output.type.shape
    if not isinstance(op, SampledWeightInteger) or op.quant.bits > 8 or len(weight.inputs) > 5:
        return None
    if stream.count != prod(shape) or len(set(op.quant.zero_point)) > 1:
        return None
    channels, each = shape[0], prod(shape[1:])
    sizes = [n for n in range(1, channels) if not channels % n and not n * each % LANES_PER_WORD]
    fitting = [n for n in sizes if _words(scope, n * each) <= MOST_WORDS]
    if not sizes or _words(scope, channels * each) <= MOST_WORDS:
        return None
    return weight, channels // max(fitting, default=sizes[0])


def _words(scope: Scope, weights: int) -> int:
    return scope.layout.samples * weights // LANES_PER_WORD


def write_in_parts(
    scope: Scope, node: Node, count: int, key: onnx_ir.Value, table: onnx_ir.Value
) -> None:
    """Write a weight and its noise in `count` parts; `key` u64 [1, L, 1, 1] is the stream's."""
    writer, name = scope.writer, scope.name(node.output)
    channels, *rest = node.output.type.shape
    part = (channels // count, *rest)
    words = prod(part) // LANES_PER_WORD
    starts = writer.constant(GOLDEN * np.arange(0, count * words, words, dtype=np.uint64))
    steps = writer.constant(GOLDEN * np.arange(1, words + 1, dtype=np.uint64))
    gaussian, apart = Gaussian.of(scope, node), writer.ints(count, *part)
    scanned = [starts]
    for value in (gaussian.centre, gaussian.spread):
        scanned.append(writer.op("Reshape", value, apart, out=f"{value.name}/parts"))
    of_channels = gaussian.divisor.shape[0] > 1
    first = gaussian.divisor[: part[0]] if of_channels else gaussian.divisor
    one = replace(gaussian, divisor=first, shape=part)
    form = first.shape if one.step is None else one.step.shape
    divisors = writer.constant(gaussian.divisor.reshape((*([count] if of_channels else []), *form)))
    if of_channels:
        scanned.append(divisors)

    def body(items: list[onnx_ir.Value]) -> list[onnx_ir.Value]:
        state = writer.op("Add", key, items[0], out=f"{name}/start")
        states = writer.op("Add", state, steps, out=f"{name}/states")
        codes = noise_codes(scope, mix(writer, states, f"{name}/words"), table)
        shape = writer.ints(scope.layout.samples, *part)
        eps = writer.op("Reshape", codes, shape, out=f"{name}/part_eps")
        its = replace(one, centre=items[1], spread=items[2])
        real, divisor = its.drawn(writer, name, eps), items[3] if of_channels else divisors
        return [eps, its.quantized(writer, name, real, divisor, f"{name}/part")]

    names = [f"{name}/eps_parts", f"{name}/parts"]
    made = writer.scan(body, count, scanned, names, axis=1)
    for drawn, parts in zip((node.inputs[2], node.output), made, strict=True):
        scope.layout.merge(parts, drawn.type.shape, scope.result(drawn))
