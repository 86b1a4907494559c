"""From noise to the codes of sampled weights, as LLVM IR.

numba makes no vector code of a loop over so many arrays.

    codes[n] = Z[n] + rint(clip(f32(eps[n]*sigma[n] + R[n]*mu[n]) / r[n], low - Z[n], high - Z[n]))

Integers are int32 that wraps. Source: docs/semantics.md, section 6.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from llvmlite import ir
from numba import types

from qbnnc.runtime.isa import chosen
from qbnnc.runtime.kernels.jit import jitted
from qbnnc.runtime.kernels.vectors import (
    F32,
    I8,
    I32,
    I64,
    concatenate,
    constant_add,
    internal_function,
    load,
    rounded,
    splat,
    store,
    times,
)

LANES = 8  # of a vector of int32 or float32


def codes_from_noise(item: int) -> Any:
    """Make a kernel that writes `count` codes of `item` bytes, for numba's jitted code.

    Arguments are numbers or addresses, in this order:

        codes       int8 or int32 [count], by `item`
        eps         int8 [count / 4][4], with `pitch` bytes from four to four
        pitch
        sigma, mu   int8 [count] each
        R           int32 [count]
        r           float32 [count]
        Z           int32 [count]
        low, high   int32
        count       a multiple of 8
    """
    arguments: list[types.Type] = [types.int64] * 8 + [types.int32, types.int32, types.int64]
    return jitted(f"qbnnc_codes_from_noise_{item}", arguments, partial(define_codes, item=item))


def define_codes(module: ir.Module, name: str, item: int) -> ir.Function:
    """Write the kernel as a function of the module."""
    names = "codes eps pitch sigma mu ratio divisor zero low high count".split()
    function = internal_function(module, name, [I64] * 8 + [I32, I32, I64], names)
    codes, eps, pitch, sigma, mu, ratio, divisor, zero, low, high, count = function.args
    ints, floats, bytes_ = (ir.VectorType(t, LANES) for t in (I32, F32, I8))
    build = ir.IRBuilder(function.append_basic_block("entry"))
    ends = [splat(build, end, LANES) for end in (low, high)]
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
    quads = [
        load(build, address, ir.VectorType(I8, 4)) for address in (first, build.add(first, pitch))
    ]
    noise = build.sext(concatenate(build, quads), ints)
    exact = build.add(build.mul(noise, small(sigma)), build.mul(large(ratio, ints), small(mu)))
    zeros = large(zero, ints)
    its_ends = [build.sitofp(build.sub(end, zeros), floats) for end in ends]
    real = build.fdiv(build.sitofp(exact, floats), large(divisor, floats))
    made = build.add(rounded(build, real, its_ends[0], its_ends[1], chosen()), zeros)
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
