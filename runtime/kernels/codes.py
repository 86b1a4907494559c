"""Loops over u8 codes, as LLVM IR: numba's own loops over bytes take several times as long.

All loops take CODES codes at a time. So they read and write up to CODES - 1 codes beyond the last
one of a pixel. The next pixel overwrites these, and a buffer has space beyond its last pixel.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types

from qbnnc.runtime.kernels.jit import jitted
from qbnnc.runtime.kernels.vectors import (
    I8,
    I16,
    I64,
    counted,
    internal_function,
    load,
    splat,
    splat_constant,
    store,
    times,
)
from qbnnc.runtime.layout import CODES

_VECTOR = ir.VectorType(I8, CODES)


def define_drop(module: ir.Module, name: str) -> ir.Function:
    """Write a loop of lane ^ flip >= threshold ? code : zero.

    The arguments are `lanes codes kept flip threshold zero turns`. `lanes` is the address of u16;
    `codes` and `kept` are addresses of u8.
    """
    names = "lanes codes kept flip threshold zero turns".split()
    function = internal_function(module, name, [I64] * 3 + [I16, I16, I8, I64], names)
    lanes, codes, kept, flip, threshold, zero, turns = function.args
    build = ir.IRBuilder(function.append_basic_block("entry"))
    flips, least, zeros = (splat(build, value, CODES) for value in (flip, threshold, zero))
    with counted(build, turns) as turn:
        at = times(build, turn, CODES)
        drawn = load(build, build.add(lanes, times(build, at, 2)), ir.VectorType(I16, CODES))
        code = load(build, build.add(codes, at), _VECTOR)
        keep = build.icmp_unsigned(">=", build.xor(drawn, flips), least)
        store(build, build.select(keep, code, zeros), build.add(kept, at))
    build.ret_void()
    return function


def define_select(module: ir.Module, name: str) -> ir.Function:
    """Write loops of mask ? code : zero, with one mask for all pixels.

    The arguments are `codes mask selected zero pixels pitch turns`. The mask is u8, 0 or 1. Pixels
    are `pitch` bytes apart.
    """
    names = "codes mask selected zero pixels pitch turns".split()
    function = internal_function(module, name, [I64] * 3 + [I8] + [I64] * 3, names)
    codes, mask, selected, zero, pixels, pitch, turns = function.args
    build = ir.IRBuilder(function.append_basic_block("entry"))
    zeros, none = splat(build, zero, CODES), splat_constant(I8, CODES, 0)
    with counted(build, pixels) as pixel:
        first = build.mul(pixel, pitch)
        with counted(build, turns) as turn:
            channel = times(build, turn, CODES)
            keep = build.icmp_unsigned("!=", load(build, build.add(mask, channel), _VECTOR), none)
            at = build.add(first, channel)
            code = load(build, build.add(codes, at), _VECTOR)
            store(build, build.select(keep, code, zeros), build.add(selected, at))
    build.ret_void()
    return function


def define_largest(module: ir.Module, name: str) -> ir.Function:
    """Write loops that find the greatest code of each channel, of rows x columns pixels.

    The arguments are `codes line pixel rows columns largest turns`. Rows are `line` bytes apart,
    and columns are `pixel` bytes apart.
    """
    names = "codes line pixel rows columns largest turns".split()
    function = internal_function(module, name, [I64] * 7, names)
    codes, line, pixel, rows, columns, largest, turns = function.args
    build = ir.IRBuilder(function.append_basic_block("entry"))
    greatest = build.alloca(_VECTOR)
    with counted(build, turns) as turn:
        channel = times(build, turn, CODES)
        build.store(splat_constant(I8, CODES, 0), greatest)
        start = build.add(codes, channel)
        with counted(build, rows) as y:
            first = build.add(start, build.mul(y, line))
            with counted(build, columns) as x:
                code = load(build, build.add(first, build.mul(x, pixel)), _VECTOR)
                before = build.load(greatest)
                more = build.icmp_unsigned(">", code, before)
                build.store(build.select(more, code, before), greatest)
        store(build, build.load(greatest), build.add(largest, channel))
    build.ret_void()
    return function


_lines: list[types.Type] = [types.int64] * 3
drop_codes = jitted(
    "qbnnc_drop_codes",
    [*_lines, types.uint16, types.uint16, types.uint8, types.int64],
    define_drop,
)
select_codes = jitted("qbnnc_select_codes", [*_lines, types.uint8, *_lines], define_select)
largest_codes = jitted("qbnnc_largest_codes", [types.int64] * 7, define_largest)
