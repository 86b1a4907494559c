"""Products of int16 pairs, as LLVM IR: what the units of a mask add to the sums of a layer.

                      16 filters, in one vector or two
                 +------------------------------------+
    position 0   |  acc[0]                            |    for each run of the unit's numbers
       ...       |                                    |      for each two of them
    position 3   |  acc[3]                            |        w: two weights in each lane
                 +------------------------------------+        for each position m
                                                                 x: its two numbers, in every lane
                                                                 acc[m] += x0 * w0 + x1 * w1

A block stores whole vectors. The blocks and positions that come after it overwrite the numbers
beyond the filters. A row of the table has space beyond the last position.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from llvmlite import ir
from numba import types

from qbnnc.runtime.isa import Isa, chosen
from qbnnc.runtime.kernels.vectors import (
    I16,
    I32,
    I64,
    LANES,
    counted,
    declare,
    internal_function,
    jitted,
    load,
    shuffle,
    splat,
    splat_constant,
    store,
    times,
)

BLOCK = 16  # filters whose weights lie together, so that a line of them has 64 bytes
POSITIONS = 4  # that share the weights of a turn
_LINE = 4 * BLOCK  # bytes of the weights of a pair, and of the sums of a position
_VECTORS = BLOCK // LANES
_PAIR_SUMS = {8: "llvm.x86.avx2.pmadd.wd", 16: "llvm.x86.avx512.pmaddw.d.512"}


def pair_sums(build: ir.IRBuilder, isa: Isa, x: ir.Value, weights: ir.Value) -> ir.Value:
    """Emit x0 * w0 + x1 * w1 in each lane, of int16 [2 * lanes], as int32."""
    ints = ir.VectorType(I32, x.type.count // 2)
    if "avx2" in isa.features:
        return build.call(
            declare(build, _PAIR_SUMS[ints.count], ints, [x.type, x.type]), [x, weights]
        )
    products = []
    for first in (0, 1):
        lanes = range(first, x.type.count, 2)
        a, b = (build.sext(shuffle(build, v, v, lanes), ints) for v in (x, weights))
        products.append(build.mul(a, b))
    return build.add(*products)


def define_unit_row(module: ir.Module, name: str, isa: Isa) -> ir.Function:
    """Write loops that compute the row of one unit.

    The arguments are `plane runs segments pairs places pixels weights filters row`. All but
    `segments`, `pairs`, `pixels` and `filters` are addresses. Runs begin at `runs` int32 [segments]
    of the place of a position, and positions at `places` int32 [pixels] of the unit's plane.
    """
    names = "plane runs segments pairs places pixels weights filters row".split()
    function = internal_function(module, name, [I64] * 9, names)
    plane, runs, segments, pairs, places, pixels, weights, filters, row = function.args
    build = ir.IRBuilder(function.append_basic_block("entry"))
    ints, words = ir.VectorType(I32, LANES), ir.VectorType(I16, 2 * LANES)
    kept = [[build.alloca(ints) for _ in range(_VECTORS)] for _ in range(POSITIONS)]
    bytes_of_block = times(build, build.mul(segments, pairs), _LINE)
    blocks = build.udiv(build.add(filters, I64(BLOCK - 1)), I64(BLOCK))

    def some_positions(count: int, first: ir.Value, block: ir.Value) -> None:
        numbers = [build.add(first, I64(m)) for m in range(count)]
        offsets = [load(build, build.add(places, times(build, n, 4)), I32) for n in numbers]
        starts = [build.add(plane, build.sext(offset, I64)) for offset in offsets]
        for position in kept[:count]:
            for total in position:
                build.store(splat_constant(I32, LANES, 0), total)
        panel = build.add(weights, build.mul(block, bytes_of_block))
        with counted(build, segments) as segment:
            offset = build.sext(load(build, build.add(runs, times(build, segment, 4)), I32), I64)
            lines = build.add(panel, times(build, build.mul(segment, pairs), _LINE))
            with counted(build, pairs) as pair:
                line, at = build.add(lines, times(build, pair, _LINE)), times(build, pair, 4)
                w = [load(build, line, words, 4 * LANES * v) for v in range(_VECTORS)]
                for start, position in zip(starts, kept, strict=False):
                    two = load(build, build.add(build.add(start, offset), at), I32)
                    x = build.bitcast(splat(build, two, LANES), words)
                    for total, lanes in zip(position, w, strict=True):
                        made = pair_sums(build, isa, x, lanes)
                        build.store(build.add(build.load(total), made), total)
        channel = times(build, block, _LINE)
        for number, position in zip(numbers, kept, strict=False):
            target = build.add(build.add(row, channel), times(build, build.mul(number, filters), 4))
            for v, total in enumerate(position):
                store(build, build.load(total), target, 4 * LANES * v)

    fours = build.lshr(pixels, I64(2))
    with counted(build, blocks) as turn:
        block = build.sub(build.sub(blocks, I64(1)), turn)
        with counted(build, fours) as four:
            some_positions(POSITIONS, times(build, four, POSITIONS), block)
        done = times(build, fours, POSITIONS)
        with counted(build, build.sub(pixels, done)) as rest:
            some_positions(1, build.add(done, rest), block)
    build.ret_void()
    return function


def define_element_row(module: ir.Module, name: str, isa: Isa) -> ir.Function:
    """Write a loop of row[n] = number * weights[n][0], for a unit of one element and one position.

    The arguments are `number weights filters row`: an int16, and the addresses of int16
    [filters][2], whose second ones are 0, and of the row. Both have whole blocks.
    """
    names = "number weights filters row".split()
    function = internal_function(module, name, [I16, *[I64] * 3], names)
    number, weights, filters, row = function.args
    build = ir.IRBuilder(function.append_basic_block("entry"))
    words = ir.VectorType(I16, 2 * LANES)
    x = splat(build, number, 2 * LANES)
    with counted(build, build.udiv(build.add(filters, I64(BLOCK - 1)), I64(BLOCK))) as block:
        at = times(build, block, _LINE)
        for v in range(_VECTORS):
            lanes = load(build, build.add(weights, at), words, 4 * LANES * v)
            made = pair_sums(build, isa, x, lanes)
            store(build, made, build.add(row, at), 4 * LANES * v)
    build.ret_void()
    return function


_isa = chosen()
_addresses: Sequence[types.Type] = [types.int64] * 9
unit_row = jitted("qbnnc_unit_row", _addresses, partial(define_unit_row, isa=_isa))
element_row = jitted(
    "qbnnc_element_row",
    [types.int16, *_addresses[:3]],
    partial(define_element_row, isa=_isa),
)
