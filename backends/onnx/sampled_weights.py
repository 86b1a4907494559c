"""Sampled weights, w = mu + sigma * eps (docs/semantics.md, section 6), of all samples at once."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
import onnx_ir

from qbnnc.backends.onnx.scope import Scope
from qbnnc.backends.onnx.writer import Attribute, Writer
from qbnnc.ir.graph import Node
from qbnnc.ir.ops import SampledWeightInteger
from qbnnc.ir.types import Array, QuantParams
from qbnnc.support.errors import CompileError

_TO_FLOAT, _TO_INT32 = int(onnx_ir.DataType.FLOAT), int(onnx_ir.DataType.INT32)
_EXACT_IN_FLOAT32 = 2**24
_LONG = 256  # weights of a channel, from which a scale for each channel beats a Div


@dataclass(frozen=True, slots=True)
class Gaussian:
    """The parameters of a sampled weight: R * mu and sigma, f32 values [*shape], and the divisor r.

    mu and sigma are stored as int8; onnxruntime computes these once, when it loads the file.
    """

    centre: onnx_ir.Value
    spread: onnx_ir.Value
    divisor: Array
    quant: QuantParams
    shape: tuple[int, ...]

    @staticmethod
    def of(scope: Scope, node: Node) -> Gaussian:
        """The parameters of a SampledWeightInteger."""
        assert isinstance(node.op, SampledWeightInteger)
        writer, name = scope.writer, scope.name(node.output)
        mu, sigma, _, ratio, divisor = node.inputs[:5]
        factor = scope.constant(ratio, node)
        if np.abs(factor.astype(np.int64) * scope.constant(mu, node)).max() > _EXACT_IN_FLOAT32:
            raise CompileError("R * mu is above 2^24 and not exact in float32", node.loc)
        real, spread = (
            writer.op("Cast", scope.stored(v), out=f"{name}/{what}", to=_TO_FLOAT)
            for what, v in (("mu", mu), ("sigma", sigma))
        )
        scaled = writer.constant(factor.astype(np.float32))
        centre = writer.op("Mul", real, scaled, out=f"{name}/centre")
        shape, r = node.output.type.shape, scope.constant(divisor, node)
        return Gaussian(centre, spread, r, node.op.quant, shape)

    @property
    def zero(self) -> Array:
        """The codes' zero point, i8, or one for each channel where they differ."""
        zeros = np.asarray(self.quant.zero_point, np.int8)
        return zeros[0].reshape(()) if len(set(self.quant.zero_point)) == 1 else zeros

    @property
    def step(self) -> Array | None:
        """The divisor as QuantizeLinear takes it, a scalar or [channels]; None: divide before.

        QuantizeLinear takes the channels one by one, which costs too much if they are short.
        """
        if self.zero.ndim or self.quant.bits > 8:
            return None
        if self.divisor.size == 1:
            return self.divisor.reshape(())
        long = self.divisor.size == self.shape[0] and prod(self.shape[1:]) >= _LONG
        return self.divisor.reshape(-1) if long else None

    def drawn(self, writer: Writer, name: str, eps: onnx_ir.Value) -> onnx_ir.Value:
        """f32(q_eps * q_sigma + R * q_mu).

        Both products are integers below 2^24, so that their float32 is exact, and the sum has the
        one rounding of f32(..). These are the integers' own bits, without int32 in between.
        """
        real = writer.op("Cast", eps, out=f"{name}/eps", to=_TO_FLOAT)
        noise = writer.op("Mul", real, self.spread, out=f"{name}/noise")
        return writer.op("Add", noise, self.centre, out=f"{name}/sum")

    def quantized(
        self,
        writer: Writer,
        name: str,
        real: onnx_ir.Value,
        divisor: onnx_ir.Value,
        out: onnx_ir.Value | str,
    ) -> onnx_ir.Value:
        """Codes of 8 bits or fewer; `divisor` holds `step`, or what divides before."""
        zero = self.zero
        if self.step is None:
            real = writer.op("Div", real, divisor, out=f"{name}/scaled")
            divisor = writer.constant(np.ones(zero.shape, np.float32))
        else:
            zero = np.full(self.step.shape, zero)
        attributes: dict[str, Attribute] = {"axis": 1} if zero.ndim else {}
        parts = (real, divisor, writer.constant(zero))
        codes = writer.op("QuantizeLinear", *parts, out=f"{name}/unclamped", **attributes)
        ends = (writer.constant(np.array(n, np.int8)) for n in (self.quant.low, self.quant.high))
        return writer.op("Clip", codes, *ends, out=out)


def sampled_weight(scope: Scope, node: Node, op: SampledWeightInteger) -> None:
    """Write quant(f32(q_eps * q_sigma + R * q_mu), r, Z_w, lo, hi): [L, *shape]."""
    if node.output in scope.values:  # drawn part by part, with its noise
        return
    writer, name, gaussian = scope.writer, scope.name(node.output), Gaussian.of(scope, node)
    real = gaussian.drawn(writer, name, _arranged(scope, node))
    out = scope.result(node.output)
    if op.quant.bits <= 8:
        divisor = gaussian.divisor if gaussian.step is None else gaussian.step
        gaussian.quantized(writer, name, real, writer.constant(divisor), out)
        return
    if any(op.quant.zero_point):
        raise CompileError("a sampled bias has the zero point 0", node.loc)
    scaled = writer.op("Div", real, writer.constant(gaussian.divisor), out=f"{name}/scaled")
    ends = (writer.constant(np.array(n, np.float32)) for n in (op.quant.low, op.quant.high))
    clipped = writer.op("Clip", scaled, *ends, out=f"{name}/clipped")
    whole = writer.op("Round", clipped, out=f"{name}/rounded")
    writer.op("Cast", whole, out=out, to=_TO_INT32)


def _arranged(scope: Scope, node: Node) -> onnx_ir.Value:
    """The noise of each element of the weight, i8 [L, *shape]: in order, or by an index.

    The index takes 1-D GatherElements over all samples at once: Gather along an axis is seven
    times slower.
    """
    writer, name, eps = scope.writer, scope.name(node.output), node.inputs[2]
    stored = scope.stored(eps)
    if len(node.inputs) < 6 and eps.type.shape == node.output.type.shape:
        return stored
    shape = writer.ints(-1, *node.output.type.shape)
    if len(node.inputs) < 6:
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
