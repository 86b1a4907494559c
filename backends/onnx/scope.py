"""The scope in which one member's nodes are written: its ONNX values, names and constants."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
import onnx_ir

from qbnnc.backends.onnx.layout import Layout
from qbnnc.backends.onnx.names import ALSO, AXES, BIAS, CODES, VALUE, axes_text, onnx_name
from qbnnc.backends.onnx.writer import Writer
from qbnnc.ir.graph import Graph, Node, Value
from qbnnc.ir.ids import holds_only_ids
from qbnnc.ir.ops.base import codes_of
from qbnnc.ir.types import CONSTANT, Array, Axes, DType, TensorType
from qbnnc.support.errors import CompileError


@dataclass(frozen=True, slots=True)
class Twin:
    """A value of an earlier member."""

    scope: Scope
    value: Value


@dataclass(frozen=True, slots=True)
class Scope:
    """A member, where its nodes are written to, and the ONNX values of its values so far.

    `twins` are values that an earlier member computes too. `owners` maps constants to the first one
    that equals them: (its member's prefix, its name).
    """

    graph: Graph
    layout: Layout
    prefix: str
    interface: tuple[str, ...]
    values: dict[Value, onnx_ir.Value]
    number: int = 0
    twins: Mapping[Value, Twin] = field(default_factory=dict)
    owners: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    _lifted: dict[tuple[Value, Axes], onnx_ir.Value] = field(default_factory=dict)

    @property
    def takes_ids(self) -> bool:
        """Whether the file's input is int64, as it holds ids alone."""
        return holds_only_ids(self.graph)

    @property
    def writer(self) -> Writer:
        return self.layout.writer

    def name(self, value: Value) -> str:
        return onnx_name(value.name, self.prefix, self.interface)

    def layer(self, node: Node) -> str:
        """The layer that a node computes: its value's name, without the word for codes."""
        return self.prefix + node.output.name.removesuffix(CODES)

    def take(self, value: Value) -> bool:
        """Whether an earlier member has written `value`, which is then this member's too."""
        if value not in self.twins:
            return False
        twin = self.twins[value]
        if twin.value not in twin.scope.values:
            return False
        stored = self.values[value] = twin.scope.values[twin.value]
        others = stored.metadata_props.get(ALSO)
        stored.metadata_props[ALSO] = f"{others},{self.number}" if others else f"{self.number}"
        return True

    def operand(self, value: Value, axes: Axes) -> onnx_ir.Value:
        """`value` in the layout of `axes`, which include its own."""
        twin = self.twins.get(value)
        if twin is not None and self.values.get(value) is twin.scope.values.get(twin.value):
            return twin.scope.operand(twin.value, axes)
        key = (value, axes)
        if key not in self._lifted:
            self._lifted[key] = self.layout.lift(self.stored(value), value.type, axes)
        return self._lifted[key]

    def spread(self, value: Value, axes: Axes) -> onnx_ir.Value:
        """`value`, lifted to `axes`, with both leading axes; one that it lacks has length 1."""
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
            self.values[value] = self.weight(value, self.graph.constants[value])
        return self.values[value]

    def weight(self, value: Value, array: Array, form: str = "") -> onnx_ir.Value:
        """An initialiser for a constant, whose codes are `array` in this form."""
        prefix, name = self.owners.get(value.name, (self.prefix, value.name))
        owner, own = onnx_name(name, prefix, self.interface) + form, self.name(value) + form
        return self.writer.weight(array, own, exact=not form, owner=owner)

    def bias(self, node: Node, array: Array) -> onnx_ir.Value:
        """An initialiser for a layer's bias in another form than the IR's."""
        prefix, _ = self.owners.get(node.inputs[2].name, (self.prefix, ""))
        owner = onnx_name(node.output.name, prefix, self.interface) + BIAS
        return self.writer.weight(array, self.name(node.output) + BIAS, exact=False, owner=owner)

    def constant(self, value: Value, node: Node) -> Array:
        """The array of a constant; CompileError if an op needs one and has a computed value."""
        if value not in self.graph.constants:
            raise CompileError(
                f"{node.op.name} with a computed {value.name} has no ONNX form yet",
                node.loc,
                remedy="compile to .qbnn",
            )
        return self.graph.constants[value]

    def result(self, value: Value) -> onnx_ir.Value:
        """The ONNX value, still without a node, that holds `value` under its own name."""
        made = onnx_ir.Value(
            name=self.name(value),
            shape=onnx_ir.Shape((self.layout.leading(value.type.axes), *value.type.shape)),
            type=onnx_ir.TensorType(_ELEMENT[value.type.dtype]),
        )
        made.metadata_props[VALUE] = self.prefix + value.name
        made.metadata_props[AXES] = axes_text(value.type.axes)
        self.values[value] = made
        return made

    def codes(self, value: Value, axes: Axes, scale: float | None = None) -> onnx_ir.Value:
        """The real numbers of u8 codes: DequantizeLinear, for a kernel to fuse with.

        Their step is the value's own, or another `scale`.
        """
        own, zero = quant_scalars(value.type)
        q = self.operand(value, axes)
        chosen = own if scale is None else np.array(scale, np.float32)
        s, z = self.writer.constant(chosen), self.writer.constant(zero)
        return self.writer.op("DequantizeLinear", q, s, z, out=f"{self.name(value)}/real")


Write: TypeAlias = Callable[[Scope, Node, Any], None]  # writes one node by itself, given its op

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
