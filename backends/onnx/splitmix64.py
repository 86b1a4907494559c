"""splitmix64 as ONNX nodes (docs/semantics.md, section 5).

The nodes stand in the graph itself, under names that begin with "random/". As functions of the file
they would be read more easily, but onnxruntime takes half as long again to load such a file.

Words are u64. In an inline file they are i64, the same bits: compilers that know no u64 know i64.
"""

from __future__ import annotations

import numpy as np
import onnx_ir
from numpy.typing import NDArray

from qbnnc.backends.onnx.writer import Writer
from qbnnc.ir.rng import GOLDEN

_TO_UINT64, _TO_INT32 = int(onnx_ir.DataType.UINT64), int(onnx_ir.DataType.INT32)
_ALL_BITS = np.array(0xFFFF, np.int64)
_STEPS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, None))  # shift, factor


def mix(writer: Writer, z: onnx_ir.Value, name: str) -> onnx_ir.Value:
    """The output function of splitmix64 (Steele, Lea, Flood 2014), mod 2^64, of words."""
    for shift, factor in _STEPS:
        moved = shifted(writer, z, shift, f"{name}/shifted")
        z = writer.op("BitwiseXor", z, moved, out=f"{name}/xor")
        if factor is not None:
            z = writer.op("Mul", z, words(writer, np.array(factor, np.uint64)), out=f"{name}/mul")
    return z


def words(writer: Writer, numbers: NDArray[np.uint64]) -> onnx_ir.Value:
    """Constant words."""
    return writer.constant(numbers.view(np.int64) if writer.inline else numbers)


def as_words(writer: Writer, x: onnx_ir.Value, name: str) -> onnx_ir.Value:
    """i64 numbers mod 2^64."""
    return x if writer.inline else writer.op("Cast", x, out=name, to=_TO_UINT64)


def lane(writer: Writer, x: onnx_ir.Value, number: int, name: str) -> onnx_ir.Value:
    """The 16-bit lane with this number, of 0..3, of the words of an inline file: i32."""
    moved = shifted(writer, x, 16 * number, f"{name}/moved") if number else x
    low = writer.op("BitwiseAnd", moved, writer.constant(_ALL_BITS), out=f"{name}/low")
    return writer.op("Cast", low, out=name, to=_TO_INT32)


def shifted(writer: Writer, x: onnx_ir.Value, bits: int, name: str) -> onnx_ir.Value:
    """x >> bits, which bring zeros.

    In an inline file: without the low bits, divided by 2^bits, and without copies of the sign.
    """
    if writer.inline:
        high, kept = np.array(-1 << bits, np.int64), np.array((1 << 64 - bits) - 1, np.int64)
        cut = writer.op("BitwiseAnd", x, writer.constant(high), out=f"{name}/high")
        by = writer.constant(np.array(1 << bits, np.int64))
        moved = writer.op("Div", cut, by, out=f"{name}/divided")
        return writer.op("BitwiseAnd", moved, writer.constant(kept), out=name)
    count = writer.constant(np.array(bits, np.uint64))
    return writer.op("BitShift", x, count, out=name, direction="RIGHT")


def derive(
    writer: Writer, parent: onnx_ir.Value, indices: NDArray[np.uint64], name: str
) -> onnx_ir.Value:
    """mix(parent + GOLDEN*(index + 1)): keys from keys; `indices` are constants."""
    steps = words(writer, GOLDEN * (indices + np.uint64(1)))
    return mix(writer, writer.op("Add", parent, steps, out=f"{name}/state"), name)
