"""One line of sampled weights, as LLVM IR: numba's loop over so many arrays is no vector code.

    codes[n] = Z[n] + rint(clip(f32(eps[n]*sigma[n] + R[n]*mu[n]) / r[n], low - Z[n], high - Z[n]))

docs/semantics.md, section 6; int32 that wraps.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from qbnnc.runtime.kernels.vectors import (
    F32,
    I8,
    I32,
    I64,
    LANES,
    concatenate,
    constant_add,
    internal_function,
    jitted,
    load,
    rounded,
    splat,
    store,
    times,
)


def _four_codes(_, address):
    """The int32 at any address."""

    def generate(context, builder, signature, args):
        return load(builder, args[0], I32)

    return types.int32(types.int64), generate


four_codes: Any = intrinsic(_four_codes)


def line_of(item: int) -> Any:
    """For numba's jitted code: (codes, eps, pitch, sigma, mu, R, r, Z, low, high, count).

    Addresses of codes i8 or i32 (`item` bytes), sigma and mu i8, R i32, r f32, Z i32, each [count];
    eps i8 [count / 4][4], with `pitch` bytes from four to four; int32 low and high; count is a
    multiple of 8.
    """
    arguments: list[types.Type] = [types.int64] * 8 + [types.int32, types.int32, types.int64]
    return jitted(f"qbnnc_sampled_line_{item}", arguments, partial(define_line, item=item))


def define_line(module: ir.Module, name: str, item: int) -> ir.Function:
    """The IR, as a function of the module."""
    names = "codes eps pitch sigma mu ratio divisor zero low high count".split()
    function = internal_function(module, name, [I64] * 8 + [I32, I32, I64], names)
    codes, eps, pitch, sigma, mu, ratio, divisor, zero, low, high, count = function.args
    ints, floats, bytes_ = (ir.VectorType(t, LANES) for t in (I32, F32, I8))
    build = ir.IRBuilder(function.append_basic_block("entry"))
    lowest, highest = splat(build, low, LANES), splat(build, high, LANES)
    before, loop = build.block, build.append_basic_block("loop")
    build.branch(loop)
    build.position_at_end(loop)
    at = build.phi(I64)
    at.add_incoming(I64(0), before)

    def small(address: ir.Value) -> ir.Value:
        return build.sext(load(build, build.add(address, at), bytes_), ints)

    def large(address: ir.Value, kind: ir.Type) -> ir.Value:
        return load(build, build.add(address, times(build, at, 4)), kind)

    first = build.add(eps, build.mul(build.udiv(at, I64(4)), pitch))
    fours = [
        load(build, address, ir.VectorType(I8, 4)) for address in (first, build.add(first, pitch))
    ]
    noise = build.sext(concatenate(build, fours), ints)
    exact = build.add(build.mul(noise, small(sigma)), build.mul(large(ratio, ints), small(mu)))
    real = build.fdiv(build.sitofp(exact, floats), large(divisor, floats))
    zeros = large(zero, ints)
    ends = [build.sitofp(build.sub(end, zeros), floats) for end in (lowest, highest)]
    made = build.add(rounded(build, real, *ends), zeros)
    if item == 1:
        made = build.trunc(made, bytes_)
    store(build, made, build.add(codes, times(build, at, item)))
    following = constant_add(build, at, LANES)
    at.add_incoming(following, build.block)
    after = build.append_basic_block("after")
    build.cbranch(build.icmp_signed("<", following, count), loop, after)
    build.position_at_end(after)
    build.ret_void()
    return function
