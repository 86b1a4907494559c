"""splitmix64 as ONNX nodes (docs/semantics.md, section 5).

The nodes stand in the graph itself, under names that begin with "random/". As functions of the file
they would be read more easily, but onnxruntime takes half as long again to load such a file.
"""

from __future__ import annotations

import numpy as np
import onnx_ir
from numpy.typing import NDArray

from qbnnc.backends.onnx.writer import Writer
from qbnnc.ir.rng import GOLDEN

_STEPS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, None))  # shift, factor


def mix(writer: Writer, z: onnx_ir.Value, name: str) -> onnx_ir.Value:
    """The output function of splitmix64 (Steele, Lea, Flood 2014), mod 2^64, of u64 numbers."""
    for shift, factor in _STEPS:
        moved = shifted(writer, z, shift, f"{name}/shifted")
        z = writer.op("BitwiseXor", z, moved, out=f"{name}/xor")
        if factor is not None:
            z = writer.op("Mul", z, writer.constant(np.array(factor, np.uint64)), out=f"{name}/mul")
    return z


def shifted(writer: Writer, x: onnx_ir.Value, bits: int, name: str) -> onnx_ir.Value:
    """x >> bits."""
    count = writer.constant(np.array(bits, np.uint64))
    return writer.op("BitShift", x, count, out=name, direction="RIGHT")


def derive(
    writer: Writer, parent: onnx_ir.Value, indices: NDArray[np.uint64], name: str
) -> onnx_ir.Value:
    """mix(parent + GOLDEN*(index + 1)): keys from keys; `indices` are constants."""
    steps = writer.constant(GOLDEN * (indices + np.uint64(1)))
    return mix(writer, writer.op("Add", parent, steps, out=f"{name}/state"), name)
