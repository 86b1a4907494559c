"""Products of the listed units alone, as LLVM IR: tiles like those of contraction's microkernel.

                  two vectors of filters
                +------------------------+
    position 0  |  acc[0][0]  acc[0][1]  |   for each unit in the sample's list
       ...      |                        |     for each four codes of it
    position 7  |  acc[7][0]  acc[7][1]  |       w[v]: four weights in each lane
                +------------------------+       for each position m
                                                   x: its four codes, in every lane
                                                   acc[m][v] += dot(x, w[v])

A sum is that of `base` less the accumulators, or plus them. All samples of a row follow each other
with the same filters, so that these filters' weights are read from the L2 cache. Whole vectors are
stored. The blocks and positions that come after them overwrite what lies beyond the filters.
"""

from __future__ import annotations

from functools import partial
from typing import TypeAlias

from llvmlite import ir
from numba import types

from qbnnc.runtime.families.contraction.kernels.products import (
    PRODUCTS,
    Emitter,
    Operands,
)
from qbnnc.runtime.families.masked_layers.geometry import LANES
from qbnnc.runtime.isa import Isa, chosen
from qbnnc.runtime.kernels.jit import jitted
from qbnnc.runtime.kernels.vectors import (
    F32,
    I8,
    I32,
    I64,
    counted,
    enable,
    internal_function,
    load,
    rounded,
    splat,
    splat_constant,
    store,
    times,
)

Places: TypeAlias = list[list[ir.Value]]  # of accumulators: [positions][vectors]


def define_unit_products(module: ir.Module, name: str, isa: Isa) -> ir.Function:
    """Write the loops for one row of a batch.

    The arguments are, in this order:

        planes      address of u8 [units][plane]
        plane       bytes of a unit
        lists       address of int32: the samples' lists, `list_step` bytes apart
        list_step
        counts      address of int64 [samples]: the units in each list
        samples
        offsets     address of int32 [k_blocks]: where four codes begin
        k_blocks
        places      address of int32 [pixels]: where positions begin in a plane
        pixels
        weights     address of int8 [vectors of filters][units][k_blocks][LANES][4]
        units
        filters
        base        address of int32, for the first position
        base_step   bytes to the next position's
        shifts      address of int32 [samples][filters]: what is taken from the accumulators
        shift_step  bytes to the next sample's
        adds        1: accumulators are added to the base, 0: they are subtracted
        factor      address of float32 [filters]
        out         address of the first sample's results, u8 codes or int32
        out_step    bytes to the next sample's
        codes       1: results are codes, 0: they are the sums as they are
        zero, low, high
    """
    names = (
        "planes plane lists list_step counts samples offsets k_blocks places pixels weights units "
        "filters base base_step shifts shift_step adds factor out out_step codes zero low high"
    ).split()
    function = internal_function(module, name, [I64] * 22 + [I32, F32, F32], names)
    if isa is Isa.NEON_DOT:
        enable(function, isa.features)
    positions = (8, 1) if isa.registers > 16 else (6, 1)
    _Tiles(function, PRODUCTS[isa], positions).emit()
    return function


class _Tiles:
    def __init__(self, function: ir.Function, product: Emitter, positions: tuple[int, ...]) -> None:
        (
            self.planes, self.plane, self.lists, self.list_step, self.counts, self.samples,
            self.offsets, self.k_blocks, self.places, self.pixels, self.weights, self.units,
            self.filters, self.base, self.base_step, self.shifts, self.shift_step, self.adds,
            self.factor, self.out, self.out_step, codes, self.zero, self.low, self.high,
        ) = function.args  # fmt: skip
        self.product, self.positions = product, positions
        build = self.build = ir.IRBuilder(function.append_basic_block("entry"))
        self.codes = build.icmp_signed("!=", codes, I64(0))
        self.ints = ir.VectorType(I32, LANES)
        self.sign = splat(build, build.trunc(build.sub(self.adds, I64(1)), I32), LANES)
        self.totals = [[build.alloca(self.ints) for _ in (0, 1)] for _ in range(max(positions))]

    def emit(self) -> None:
        """Write a loop over pairs of vectors, the last one first, after a single vector."""
        build = self.build
        vectors = build.udiv(build.add(self.filters, I64(LANES - 1)), I64(LANES))
        pairs = build.lshr(vectors, I64(1))
        with counted(build, build.and_(vectors, I64(1))):
            self.block(times(build, pairs, 2), 1)
        with counted(build, pairs) as turn:
            self.block(times(build, build.sub(build.sub(pairs, I64(1)), turn), 2), 2)
        build.ret_void()

    def block(self, vector: ir.Value, vectors: int) -> None:
        """Write loops over samples and positions of some vectors of filters, from `vector` on."""
        build = self.build
        with counted(build, self.samples) as sample:
            done = I64(0)
            for count in self.positions:
                turns = build.udiv(build.sub(self.pixels, done), I64(count))
                with counted(build, turns) as some:
                    first = build.add(done, times(build, some, count))
                    totals = [row[:vectors] for row in self.totals[:count]]
                    self.tile(totals, first, vector, sample)
                done = build.add(done, times(build, turns, count))

    def tile(self, totals: Places, first: ir.Value, vector: ir.Value, sample: ir.Value) -> None:
        """Write the products of some positions, and the ends of their sums."""
        build, starts = self.build, list[ir.Value]()
        for m, position in enumerate(totals):
            place = load(build, build.add(self.places, times(build, first, 4)), I32, 4 * m)
            starts.append(build.add(self.planes, build.sext(place, I64)))
            for total in position:
                build.store(splat_constant(I32, LANES, 0), total)
        lines = times(build, self.k_blocks, 4 * LANES)
        panel = build.mul(self.units, lines)
        panels = [
            build.add(self.weights, build.mul(build.add(vector, I64(v)), panel))
            for v in range(len(totals[0]))
        ]
        listed = build.add(self.lists, build.mul(sample, self.list_step))
        count = load(build, build.add(self.counts, times(build, sample, 8)), I64)
        with counted(build, count) as number:
            unit = load(build, build.add(listed, times(build, number, 4)), I32)
            unit = build.sext(unit, I64)
            plane, line = build.mul(unit, self.plane), build.mul(unit, lines)
            planes = [build.add(start, plane) for start in starts]
            weights = [build.add(its_panel, line) for its_panel in panels]
            with counted(build, self.k_blocks) as k:
                self.k_block(totals, planes, weights, k)
        self.ends(totals, first, times(build, vector, LANES), sample)

    def ends(self, totals: Places, first: ir.Value, channel: ir.Value, sample: ir.Value) -> None:
        """Write the ends of a tile's sums, whose filters begin at `channel`."""
        build = self.build
        its_shifts = build.add(self.shifts, build.mul(sample, self.shift_step))
        its_out = build.add(self.out, build.mul(sample, self.out_step))
        shifts, factors = (
            [
                load(build, build.add(begin, times(build, channel, 4)), kind, 4 * LANES * v)
                for v in range(len(totals[0]))
            ]
            for begin, kind in (
                (its_shifts, self.ints),
                (self.factor, ir.VectorType(F32, LANES)),
            )
        )
        made = list[tuple[ir.Value, list[ir.Value]]]()
        for m, position in enumerate(totals):
            pixel = build.add(first, I64(m))
            base = build.add(self.base, build.mul(pixel, self.base_step))
            base = build.add(base, times(build, channel, 4))
            sums = list[ir.Value]()
            for v, (place, shift) in enumerate(zip(position, shifts, strict=True)):
                total = build.sub(build.load(place), shift)
                signed = build.sub(build.xor(total, self.sign), self.sign)
                sums.append(build.add(load(build, base, self.ints, 4 * LANES * v), signed))
            made.append((build.add(build.mul(pixel, self.filters), channel), sums))
        with build.if_else(self.codes) as (as_codes, as_sums):
            with as_codes:
                for element, sums in made:
                    for v, (total, factor) in enumerate(zip(sums, factors, strict=True)):
                        code = self.code(total, factor)
                        store(build, code, build.add(its_out, element), LANES * v)
            with as_sums:
                for element, sums in made:
                    for v, total in enumerate(sums):
                        at = build.add(its_out, times(build, element, 4))
                        store(build, total, at, 4 * LANES * v)

    def k_block(
        self, totals: Places, planes: list[ir.Value], weights: list[ir.Value], k: ir.Value
    ) -> None:
        """Write the products of four codes of each position."""
        build, bytes_ = self.build, ir.VectorType(I8, 4 * LANES)
        place = load(build, build.add(self.offsets, times(build, k, 4)), I32)
        offset, line = build.sext(place, I64), times(build, k, 4 * LANES)
        operands = Operands(
            [load(build, build.add(plane, offset), I32) for plane in planes],
            [load(build, build.add(begin, line), bytes_) for begin in weights],
        )
        made = self.product(build, operands, [[build.load(t) for t in some] for some in totals])
        for some, values in zip(totals, made, strict=True):
            for total, value in zip(some, values, strict=True):
                build.store(value, total)

    def code(self, total: ir.Value, factor: ir.Value) -> ir.Value:
        """Write the requantisation of one vector of sums."""
        build = self.build
        scaled = build.fmul(build.sitofp(total, ir.VectorType(F32, LANES)), factor)
        low, high = (splat(build, bound, LANES) for bound in (self.low, self.high))
        code = build.add(
            rounded(build, scaled, low, high, chosen()), splat(build, self.zero, LANES)
        )
        return build.trunc(code, ir.VectorType(I8, LANES))


_isa = chosen()
_arguments: list[types.Type] = [*[types.int64] * 22, types.int32, types.float32, types.float32]
unit_products = jitted("qbnnc_unit_products", _arguments, partial(define_unit_products, isa=_isa))
