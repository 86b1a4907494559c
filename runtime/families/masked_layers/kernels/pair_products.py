"""Products of int16 pairs, as LLVM IR: what the units of a mask add to the sums of a layer.

                      16 filters, in two vectors
                 +------------------------------------+
    position 0   |  acc[0]                            |    for each two of the unit's numbers
       ...       |                                    |
    position 5   |  acc[5]                            |      w: two weights in each lane
                 +------------------------------------+      for each position m
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

from qbnnc.runtime.families.masked_layers.geometry import BLOCK
from qbnnc.runtime.isa import Isa, chosen
from qbnnc.runtime.kernels.jit import jitted
from qbnnc.runtime.kernels.vectors import (
    I16,
    I32,
    I64,
    counted,
    declare,
    internal_function,
    load,
    shuffle,
    splat,
    splat_constant,
    store,
    times,
)

LANES = 8  # sums of a position lie at any place: a store of 64 bytes would cross a cache line
POSITIONS = (6, 4, 1)  # that share the weights of a turn
_LINE = 4 * BLOCK  # bytes of the weights of a pair, and of the sums of a position
_VECTORS = BLOCK // LANES
_PAIR_SUMS = "llvm.x86.avx2.pmadd.wd"  # vpmaddwd
_DOT = "llvm.x86.avx512.vpdpwssd.256"


def add_pairs(
    build: ir.IRBuilder, isa: Isa, total: ir.Value, x: ir.Value, weights: ir.Value
) -> ir.Value:
    """Emit total + x0 * w0 + x1 * w1 in each lane, of int16 [2 * lanes], as int32."""
    ints = total.type
    if "avx512vnni" in isa.features:
        dot = declare(build, _DOT, ints, [ints] * 3)
        return build.call(dot, [total, build.bitcast(x, ints), build.bitcast(weights, ints)])
    if "avx2" in isa.features:
        sums = declare(build, _PAIR_SUMS, ints, [x.type, x.type])
        return build.add(total, build.call(sums, [x, weights]))
    for first in (0, 1):
        lanes = range(first, x.type.count, 2)
        a, b = (build.sext(shuffle(build, v, v, lanes), ints) for v in (x, weights))
        total = build.add(total, build.mul(a, b))
    return total


def define_unit_row(module: ir.Module, name: str, isa: Isa) -> ir.Function:
    """Write loops that compute the row of one unit, and add it to the sums of all.

    The arguments are `plane offsets pairs places pixels weights filters row whole`. All but
    `pairs`, `pixels` and `filters` are addresses. Pair k of position p begins at byte
    places[p] + offsets[k] of the unit's plane; both are int32.
    """
    names = "plane offsets pairs places pixels weights filters row whole".split()
    function = internal_function(module, name, [I64] * 9, names)
    _UnitRow(function, isa).emit()
    return function


class _UnitRow:
    def __init__(self, function: ir.Function, isa: Isa) -> None:
        (
            self.plane, self.offsets, self.pairs, self.places, self.pixels, self.weights,
            self.filters, self.row, self.whole,
        ) = function.args  # fmt: skip
        self.isa = isa
        build = self.build = ir.IRBuilder(function.append_basic_block("entry"))
        self.ints = ir.VectorType(I32, LANES)
        self.totals = [
            [build.alloca(self.ints) for _ in range(_VECTORS)] for _ in range(max(POSITIONS))
        ]

    def emit(self) -> None:
        """Write a loop over blocks of filters, the last one first, and over positions."""
        build = self.build
        blocks = build.udiv(build.add(self.filters, I64(BLOCK - 1)), I64(BLOCK))
        with counted(build, blocks) as turn:
            block, done = build.sub(build.sub(blocks, I64(1)), turn), I64(0)
            for count in POSITIONS:
                turns = build.udiv(build.sub(self.pixels, done), I64(count))
                with counted(build, turns) as some:
                    self.positions(build.add(done, times(build, some, count)), count, block)
                done = build.add(done, times(build, turns, count))
        build.ret_void()

    def positions(self, first: ir.Value, count: int, block: ir.Value) -> None:
        """Write the products of some positions, and store their sums."""
        build, words = self.build, ir.VectorType(I16, 2 * LANES)
        starts = list[ir.Value]()
        for m, position in enumerate(self.totals[:count]):
            place = load(build, build.add(self.places, times(build, first, 4)), I32, 4 * m)
            starts.append(build.add(self.plane, build.sext(place, I64)))
            for total in position:
                build.store(splat_constant(I32, LANES, 0), total)
        panel = build.add(self.weights, times(build, build.mul(block, self.pairs), _LINE))
        with counted(build, self.pairs) as pair:
            line = build.add(panel, times(build, pair, _LINE))
            offset = load(build, build.add(self.offsets, times(build, pair, 4)), I32)
            weights = [load(build, line, words, 4 * LANES * v) for v in range(_VECTORS)]
            for start, position in zip(starts, self.totals, strict=False):
                two = load(build, build.add(start, build.sext(offset, I64)), I32)
                x = build.bitcast(splat(build, two, LANES), words)
                for total, w in zip(position, weights, strict=True):
                    build.store(add_pairs(build, self.isa, build.load(total), x, w), total)
        at = build.add(times(build, build.mul(first, self.filters), 4), times(build, block, _LINE))
        for position in self.totals[:count]:
            for v, total in enumerate(position):
                self.end(build.load(total), at, 4 * LANES * v)
            at = build.add(at, times(build, self.filters, 4))

    def end(self, total: ir.Value, at: ir.Value, more: int) -> None:
        """Write the store of a vector of sums, which are 0 beyond the filters."""
        store_and_add(
            self.build, total, self.build.add(self.row, at), self.build.add(self.whole, at), more
        )


def store_and_add(
    build: ir.IRBuilder, total: ir.Value, row: ir.Value, whole: ir.Value, offset: int
) -> None:
    """Emit the store of a vector of sums to a row, and its addition to the sums of all units."""
    store(build, total, row, offset)
    store(build, build.add(load(build, whole, total.type, offset), total), whole, offset)


def define_element_row(module: ir.Module, name: str, isa: Isa) -> ir.Function:
    """Write a loop of row[n] = number * weights[n][0], for a unit of one element and one position.

    The arguments are `number weights filters row whole`: an int16, and the addresses of int16
    [filters][2], whose second ones are 0, and of the rows. All have whole blocks.
    """
    names = "number weights filters row whole".split()
    function = internal_function(module, name, [I16, *[I64] * 4], names)
    number, weights, filters, row, whole = function.args
    build = ir.IRBuilder(function.append_basic_block("entry"))
    words = ir.VectorType(I16, 2 * LANES)
    x = splat(build, number, 2 * LANES)
    with counted(build, build.udiv(build.add(filters, I64(BLOCK - 1)), I64(BLOCK))) as block:
        at = times(build, block, _LINE)
        for v in range(_VECTORS):
            lanes = load(build, build.add(weights, at), words, 4 * LANES * v)
            made = add_pairs(build, isa, splat_constant(I32, LANES, 0), x, lanes)
            store_and_add(build, made, build.add(row, at), build.add(whole, at), 4 * LANES * v)
    build.ret_void()
    return function


_isa = chosen()
_addresses: Sequence[types.Type] = [types.int64] * 9
unit_row = jitted("qbnnc_unit_row", _addresses, partial(define_unit_row, isa=_isa))
element_row = jitted(
    "qbnnc_element_row",
    [types.int16, *_addresses[:4]],
    partial(define_element_row, isa=_isa),
)
