"""Sums of table rows, as LLVM IR: a strip of accumulators stays in registers over all rows.

    for each strip of the elements, up to 8 vectors:
        for each sample:
            total = 0
            for each unit in the sample's list: total += its row's strip
            last row +- total: requantised to codes, or stored as it is

Samples are the inner loop. So a strip of the table is read from the L2 cache for the first sample
alone.
"""

from __future__ import annotations

from functools import partial

from llvmlite import ir
from numba import types

from qbnnc.runtime.families.masked_layers.geometry import LANES, STRIP, WHOLE
from qbnnc.runtime.isa import chosen
from qbnnc.runtime.kernels.jit import jitted
from qbnnc.runtime.kernels.vectors import (
    F32,
    I8,
    I32,
    I64,
    counted,
    internal_function,
    load,
    rounded,
    splat,
    splat_constant,
    store,
    times,
)


def define_masked_sums(module: ir.Module, name: str, *, codes: bool) -> ir.Function:
    """Write the loops for one row of a batch.

    The arguments are, in this order:

        table       address of int32 rows, `stride` bytes apart
        base        address of the row to begin with
        stride
        lists       address of int32: the samples' lists, `list_step` bytes apart
        list_step
        counts      address of int64 [samples]: the units in each list
        samples
        out         address of the first sample's results, u8 codes or int32
        out_step    bytes to the next sample's
        elements    a multiple of WHOLE
        filters
        adds        1: rows are added, 0: they are subtracted
        factor      address of float32 [filters + REPEATED]
        zero, low, high
    """
    names = (
        "table base stride lists list_step counts samples out out_step elements filters adds "
        "factor zero low high"
    ).split()
    function = internal_function(module, name, [I64] * 13 + [I32, F32, F32], names)
    _Strips(function, codes=codes).emit()
    return function


class _Strips:
    def __init__(self, function: ir.Function, *, codes: bool) -> None:
        (
            self.table, self.base, self.stride, self.lists, self.list_step, self.counts,
            self.samples, self.out, self.out_step, self.elements, self.filters, self.adds,
            self.factor, self.zero, self.low, self.high,
        ) = function.args  # fmt: skip
        self.codes, self.ints = codes, ir.VectorType(I32, LANES)
        build = self.build = ir.IRBuilder(function.append_basic_block("entry"))
        self.totals = [build.alloca(self.ints) for _ in range(STRIP)]
        self.sign = splat(build, build.trunc(build.sub(self.adds, I64(1)), I32), LANES)

    def emit(self) -> None:
        """Write a loop over the widest strips, then over narrower ones for what is left."""
        build, vectors, done = self.build, STRIP, I64(0)
        while vectors * LANES >= min(WHOLE, STRIP * LANES):
            width = vectors * LANES
            turns = build.udiv(build.sub(self.elements, done), I64(width))
            with counted(build, turns) as turn:
                self.strip(build.add(done, times(build, turn, width)), vectors)
            done = build.add(done, times(build, turns, width))
            vectors //= 2
        build.ret_void()

    def strip(self, first: ir.Value, vectors: int) -> None:
        """Write the loop over samples for one strip, which begins at element `first`."""
        build, at = self.build, times(self.build, first, 4)
        channel = build.urem(first, self.filters)
        factor = build.add(self.factor, times(build, channel, 4))
        column, base = build.add(self.table, at), build.add(self.base, at)
        with counted(build, self.samples) as sample:
            listed = build.add(self.lists, build.mul(sample, self.list_step))
            count = load(build, build.add(self.counts, times(build, sample, 8)), I64)
            for total in self.totals[:vectors]:
                build.store(splat_constant(I32, LANES, 0), total)
            with counted(build, count) as number:
                unit = build.sext(load(build, build.add(listed, times(build, number, 4)), I32), I64)
                row = build.add(column, build.mul(unit, self.stride))
                for v, total in enumerate(self.totals[:vectors]):
                    part = load(build, row, self.ints, 4 * LANES * v)
                    build.store(build.add(build.load(total), part), total)
            out = build.add(self.out, build.mul(sample, self.out_step))
            for v, total in enumerate(self.totals[:vectors]):
                signed = build.sub(build.xor(build.load(total), self.sign), self.sign)
                whole = build.add(load(build, base, self.ints, 4 * LANES * v), signed)
                self.end(whole, factor, v, build.add(out, first if self.codes else at))

    def end(self, total: ir.Value, factor: ir.Value, number: int, out: ir.Value) -> None:
        """Write the end of one vector of sums, the strip's `number`th."""
        build = self.build
        if not self.codes:
            store(build, total, out, 4 * LANES * number)
            return
        floats = ir.VectorType(F32, LANES)
        scaled = build.fmul(
            build.sitofp(total, floats), load(build, factor, floats, 4 * LANES * number)
        )
        low, high = (splat(build, bound, LANES) for bound in (self.low, self.high))
        code = build.add(
            rounded(build, scaled, low, high, chosen()), splat(build, self.zero, LANES)
        )
        store(build, build.trunc(code, ir.VectorType(I8, LANES)), out, LANES * number)


_arguments: list[types.Type] = [*[types.int64] * 13, types.int32, types.float32, types.float32]
sum_codes, sum_numbers = (
    jitted(f"qbnnc_masked_{kind}", _arguments, partial(define_masked_sums, codes=kind == "codes"))
    for kind in ("codes", "numbers")
)
