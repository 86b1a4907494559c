"""Lists of the units that a mask drops, or keeps: eight lanes at a time, without a branch.

lanes       3  9  1  7  2  8  8  5     drawn, as docs/semantics.md, section 5, defines them
< limit     .  .  x  .  x  .  .  .     and the unit's flag
bits        0b00010100                 the number of a row of ORDER: 2, 4, ...
list        ..., 2, 4                  the row is stored whole; the next one begins after two
"""

from __future__ import annotations

from llvmlite import ir
from numba import types

from qbnnc.runtime.families.masked_layers.geometry import TURN
from qbnnc.runtime.kernels.jit import jitted
from qbnnc.runtime.kernels.vectors import (
    I8,
    I16,
    I32,
    I64,
    counted,
    declare,
    internal_function,
    load,
    splat,
    splat_constant,
    store,
    times,
)


def _orders(module: ir.Module, name: str) -> ir.GlobalVariable:
    """Write u8 [256][TURN]: the numbers of the bits that are set, the lowest first."""
    rows = [[b for b in range(TURN) if bits >> b & 1] for bits in range(1 << TURN)]
    numbers = [number for row in rows for number in (*row, *[0] * (TURN - len(row)))]
    kind = ir.ArrayType(I8, len(numbers))
    table = ir.GlobalVariable(module, kind, f"{name}_orders")
    table.linkage, table.global_constant = "internal", True
    table.initializer = ir.Constant(kind, numbers)
    return table


def define_list_units(module: ir.Module, name: str) -> ir.Function:
    """Write a loop that lists the units whose lane ^ flip < limit and whose flag is not 0.

    The arguments are `lanes flags listed count flip limit units`. `lanes` is the address of u16,
    `flags` that of u8, and `listed` that of int32: each with `units` numbers, rounded up to TURN.
    `count` is the address of the int64 that becomes the number of units in the list.
    """
    names = "lanes flags listed count flip limit units".split()
    function = internal_function(module, name, [I64] * 4 + [I16] * 2 + [I64], names)
    lanes, flags, listed, count, flip, limit, units = function.args
    orders, bytes_ = _orders(module, name), ir.VectorType(I8, TURN)
    build = ir.IRBuilder(function.append_basic_block("entry"))
    first, found = build.ptrtoint(orders, I64), build.alloca(I64)
    build.store(I64(0), found)
    flips, limits = splat(build, flip, TURN), splat(build, limit, TURN)
    none, popcount = splat_constant(I8, TURN, 0), declare(build, "llvm.ctpop.i64", I64, [I64])
    turns = build.lshr(build.add(units, I64(TURN - 1)), I64(3))
    with counted(build, turns) as turn:
        begin = times(build, turn, TURN)
        drawn = load(build, build.add(lanes, times(build, begin, 2)), ir.VectorType(I16, TURN))
        has = build.icmp_unsigned("!=", load(build, build.add(flags, begin), bytes_), none)
        hit = build.and_(build.icmp_unsigned("<", build.xor(drawn, flips), limits), has)
        left = build.sub(units, begin)
        some = build.select(build.icmp_signed("<", left, I64(TURN)), left, I64(TURN))
        inside = build.sub(build.shl(I64(1), some), I64(1))
        bits = build.and_(build.zext(build.bitcast(hit, I8), I64), inside)
        row = load(build, build.add(first, times(build, bits, TURN)), bytes_)
        numbers = build.zext(row, ir.VectorType(I32, TURN))
        numbers = build.add(numbers, splat(build, build.trunc(begin, I32), TURN))
        before = build.load(found)
        store(build, numbers, build.add(listed, times(build, before, 4)))
        build.store(build.add(before, build.call(popcount, [bits])), found)
    store(build, build.load(found), count)
    build.ret_void()
    return function


list_units = jitted(
    "qbnnc_list_units",
    [*[types.int64] * 4, types.uint16, types.uint16, types.int64],
    define_list_units,
)
