"""What the lowering of one member's nodes shares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import onnx_ir

from qbnnc.backends.onnx.layout import Layout
from qbnnc.backends.onnx.names import AXES, VALUE, axes_text, onnx_name
from qbnnc.backends.onnx.writer import Writer
from qbnnc.ir.errors import CompileError
from qbnnc.ir.graph import Graph, Node, Value
from qbnnc.ir.ops.base import codes_of
from qbnnc.ir.types import CONSTANT, Array, Axes, Axis, DType, TensorType


@dataclass(frozen=True, slots=True)
class Scope:
    """A member, where its nodes are written to, and the ONNX values of its values so far."""

    graph: Graph
    layout: Layout
    prefix: str
    interface: tuple[str, ...]
    values: dict[Value, onnx_ir.Value]
    _lifted: dict[tuple[Value, Axes], onnx_ir.Value] = field(default_factory=dict)

    @property
    def writer(self) -> Writer:
        return self.layout.writer

    def name(self, value: Value) -> str:
        return onnx_name(value.name, self.prefix, self.interface)

    def operand(self, value: Value, axes: Axes) -> onnx_ir.Value:
        """`value` in the layout of `axes`, which include its own."""
        key = (value, axes)
        if key not in self._lifted:
            self._lifted[key] = self.layout.lift(self.stored(value), value.type, axes)
        return self._lifted[key]

    def spread(self, value: Value, axes: Axes) -> onnx_ir.Value:
        """`value`, lifted to `axes`, as [L, B, *shape], with 1 for the one it lacks."""
        return self.layout.spread(self.operand(value, axes), replace(value.type, axes=axes))

    def aligned(self, values: Sequence[Value], axes: Axes) -> tuple[list[onnx_ir.Value], bool]:
        """`values` so that they broadcast to `axes`, and whether that is [L, B, *shape].

        A value without samples meets one with them by broadcasting: this is where the
        deterministic prefix is repeated, at no cost of its own.
        """
        if all(value.type.axes in (CONSTANT, axes) for value in values):
            return [self.stored(value) for value in values], False
        own = [(value, value.type.axes) for value in values]
        return [self.spread(v, a) if a else self.stored(v) for v, a in own], True

    def stored(self, value: Value) -> onnx_ir.Value:
        """`value` in its own layout."""
        if value not in self.values:
            array = self.graph.constants[value]
            self.values[value] = self.writer.weight(array, self.name(value), exact=True)
        return self.values[value]

    def constant(self, value: Value, node: Node) -> Array:
        """The array of a constant; CompileError if an op needs one and has a computed value."""
        if value not in self.graph.constants:
            raise CompileError(
                f"{node.op.name} with a computed {value.name} has no ONNX form yet: "
                "compile to .qbnn",
                node.loc,
            )
        return self.graph.constants[value]

    def result(self, value: Value) -> onnx_ir.Value:
        """The ONNX value, still without a node, that holds `value` under its own name."""
        made = onnx_ir.Value(
            name=self.name(value),
            shape=onnx_ir.Shape((_rows(value.type.axes), *value.type.shape)),
            type=onnx_ir.TensorType(_ELEMENT[value.type.dtype]),
            metadata_props={
                VALUE: self.prefix + value.name,
                AXES: axes_text(value.type.axes),
            },
        )
        self.values[value] = made
        return made

    def codes(self, value: Value, axes: Axes) -> onnx_ir.Value:
        """The real numbers of u8 codes: DequantizeLinear, for a kernel to fuse with."""
        scale, zero = quant_scalars(value.type)
        q = self.operand(value, axes)
        s, z = self.writer.constant(scale), self.writer.constant(zero)
        return self.writer.op("DequantizeLinear", q, s, z, out=f"{self.name(value)}/real")


_ELEMENT = {
    DType.F32: onnx_ir.DataType.FLOAT,
    DType.U8: onnx_ir.DataType.UINT8,
    DType.I8: onnx_ir.DataType.INT8,
    DType.I32: onnx_ir.DataType.INT32,
}


def quant_scalars(type: TensorType) -> tuple[Array, Array]:
    """(S f32 scalar, Z u8 scalar) of u8 codes."""
    scale, zero = codes_of(type).per_tensor
    return np.array(scale, np.float32), np.array(zero, np.uint8)


def _rows(axes: Axes) -> str | None:
    if axes == CONSTANT:
        return None
    return "batch" if axes == {Axis.ROW} else None
