"""Codes of noise, by tables of all lanes (docs/semantics.md, section 5)."""

from __future__ import annotations

import numpy as np
import onnx_ir
from numpy.typing import NDArray

from qbnnc.backends.onnx.scope import Scope
from qbnnc.backends.onnx.splitmix64 import lane, shifted
from qbnnc.backends.onnx.streams import Stream, interleaved, write_each
from qbnnc.backends.onnx.writer import Writer
from qbnnc.ir.ops import NoiseCodes
from qbnnc.ir.rng import LANES_PER_WORD, eps_table

_TO_INT32, _TO_UINT16 = int(onnx_ir.DataType.INT32), int(onnx_ir.DataType.UINT16)
_INT32_ZERO = onnx_ir.tensor(np.zeros(1, np.int32))


def write_noise(
    scope: Scope, group: list[Stream], words: onnx_ir.Value, table: onnx_ir.Value
) -> None:
    """Write every stream of a family of noise as a value of `scope`.

    `words` u64 [1, L, B or 1, words] are theirs, and the table is i8 or u8 [65536].
    """
    count = LANES_PER_WORD * sum(s.words for s in group)
    codes = noise_codes(scope, words, table)
    shape = scope.writer.ints(-1, count)
    write_each(scope, group, scope.writer.op("Reshape", codes, shape, out=f"{codes.name}/rows"))


def noise_codes(scope: Scope, words: onnx_ir.Value, table: onnx_ir.Value) -> onnx_ir.Value:
    """The codes of all lanes of the words, in one axis.

    GatherElements on one axis reads the table: Gather is twelve times slower.
    """
    writer, name = scope.writer, f"{scope.prefix}random/noise"
    places = _lanes(scope, words)
    if not writer.inline:
        places = writer.op("Cast", places, out=f"{name}/places", to=_TO_INT32)
    return writer.op("GatherElements", table, places, out=f"{name}/codes", axis=0)


def _lanes(scope: Scope, words: onnx_ir.Value) -> onnx_ir.Value:
    """The four 16-bit lanes of each word, lowest bits first: u16, or i32, in one axis."""
    writer, name, lanes = scope.writer, f"{scope.prefix}random/noise", list[onnx_ir.Value]()
    for number in range(LANES_PER_WORD):
        if writer.inline:
            lanes.append(lane(writer, words, number, f"{name}/lane"))
            continue
        moved = shifted(writer, words, 16 * number, f"{name}/moved") if number else words
        lanes.append(writer.op("Cast", moved, out=f"{name}/lane", to=_TO_UINT16))
    planes = writer.op("Concat", *lanes, out=f"{name}/planes", axis=0)
    return interleaved(scope, planes, (-1,), f"{name}/flat")


def noise_table(writer: Writer) -> onnx_ir.Value:
    """eps of each lane, i8 [65536]: one table for the whole file."""
    return writer.once("eps_table", lambda _: _write_table(writer, eps_table(), "eps"))


def codes_table(writer: Writer, op: NoiseCodes) -> onnx_ir.Value:
    """The code of each lane, u8 [65536]: one table for all noise of this distribution."""
    key = f"codes_table {op.thresholds} {op.inverted}"
    return writer.once(key, lambda _: _write_table(writer, op.table, "noise"))


def _write_table(
    writer: Writer, table: NDArray[np.int8] | NDArray[np.uint8], what: str
) -> onnx_ir.Value:
    """The table from its first number and the lanes where it changes.

    onnxruntime computes it once, when it loads the file, which is 64 kB smaller for it. An inline
    file holds the table itself.
    """
    if writer.inline:
        return writer.constant(table)
    changes = np.diff(table.astype(np.int32))
    steps = np.flatnonzero(changes)
    size = writer.ints(len(table))
    flat = writer.op("ConstantOfShape", size, out="random/no_steps", value=_INT32_ZERO)
    heights = writer.constant(changes[steps])
    places = writer.constant(steps + 1)
    marked = writer.op("ScatterElements", flat, places, heights, out="random/steps", axis=0)
    axis = writer.constant(np.array(0, np.int64))
    count = writer.op("CumSum", marked, axis, out="random/count")
    first = writer.constant(np.array(table[0], np.int32))
    codes = writer.op("Add", count, first, out=f"random/{what}_codes")
    kind = onnx_ir.DataType.from_numpy(table.dtype)
    return writer.op("Cast", codes, out=f"random/{what}_table", to=int(kind))
