"""The layout of [L, B, *shape] in an ONNX tensor, and changes of layout.

A value that varies with the row is [B, *shape]; one that varies with the sample is [L, *shape]. A
value that varies with both is [L*B, *shape], sample-major: copy = sample*B + row. A constant is
[*shape].
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir

from qbnnc.backends.onnx.writer import Writer
from qbnnc.ir.types import PER_ROW, PER_ROW_AND_SAMPLE, PER_SAMPLE, Axes, Axis, TensorType


@dataclass(frozen=True, slots=True)
class Layout:
    """`samples` is L; `rows` is B: a number, or the int64 [1] tensor that holds it."""

    writer: Writer
    samples: int
    rows: onnx_ir.Value | int

    def leading(self, axes: Axes) -> int | str | None:
        """The length of a stored value's leading axis, as far as a file tells it."""
        if isinstance(self.rows, int):
            samples = self.samples if Axis.SAMPLE in axes else 1
            return samples * (self.rows if Axis.ROW in axes else 1)
        return "batch" if axes == PER_ROW else None

    def lift(self, x: onnx_ir.Value, type: TensorType, axes: Axes) -> onnx_ir.Value:
        """Repeat `x` along the axes that it lacks."""
        if axes == type.axes:
            return x
        spread = self.spread(x, type) if Axis.SAMPLE in type.axes else x
        full = self.writer.op("Expand", spread, self._shape(type.shape, axes), out=f"{x.name}/each")
        return self.merge(full, type.shape, f"{x.name}/repeated")

    def spread(self, x: onnx_ir.Value, type: TensorType) -> onnx_ir.Value:
        """The same numbers with both leading axes; one that x lacks has length 1."""
        leading = {PER_ROW: (1, -1), PER_SAMPLE: (-1, 1), PER_ROW_AND_SAMPLE: (self.samples, -1)}
        shape = self.writer.ints(*leading[type.axes], *type.shape)
        return self.writer.op("Reshape", x, shape, out=f"{x.name}/spread")

    def merge(
        self, x: onnx_ir.Value, shape: tuple[int, ...], out: onnx_ir.Value | str
    ) -> onnx_ir.Value:
        """[L, B, *shape] as [L*B, *shape]."""
        return self.writer.op("Reshape", x, self.writer.ints(-1, *shape), out=out)

    def _shape(self, shape: tuple[int, ...], axes: Axes) -> onnx_ir.Value:
        samples = self.samples if Axis.SAMPLE in axes else 1
        if isinstance(self.rows, int):
            return self.writer.ints(samples, self.rows if Axis.ROW in axes else 1, *shape)
        rows = self.rows if Axis.ROW in axes else self.writer.ints(1)
        parts = (self.writer.ints(samples), rows, self.writer.ints(*shape))
        return self.writer.op("Concat", *parts, out="layout/shape", axis=0)
