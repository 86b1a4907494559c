"""The product of a panel and some positions, as LLVM IR.

                   vectors of output channels
                +------------------------------------+
    position 0  |  acc[0][0]         acc[0][1]       |   for each segment of K
    position 1  |  acc[1][0]         acc[1][1]       |     for each four codes of it
       ...      |                                    |       w[v]: four weights in each lane
    position m  |  acc[m][0]         acc[m][1]       |       for each position m
                +------------------------------------+         x: its four codes, in every lane
                                                               acc[m][v] += dot(x, w[v])

This is a tile. Accumulators are int32 and stay in registers. The positions are computed in tiles of
the most rows that there are, and the rest in smaller ones. The codes are read where they lie:
position m's operand has `segments` runs of bytes, whose distances are the same for all positions.
So one kernel serves a linear layer and a convolution of any window and stride. If a run is no
multiple of four, its last weights are zero, and any codes may stand there.

If the product takes codes as int8 and they may be above 127, it gets x - 128. One more row of ones
gives the sum of the weights, and 128 times that sum is added to the bias.

The weights of a panel lie as [segment][four codes][channel][4], int8.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from llvmlite import ir
from numba import types

from qbnnc.runtime.families.contraction.kernels.products import (
    DEEP_PRODUCT,
    PRODUCTS,
    SIGNED,
    UNROLL,
    WIDE_PRODUCTS,
    WORD_PRODUCTS,
    Accumulators,
    Emitter,
    Operands,
)
from qbnnc.runtime.isa import Isa
from qbnnc.runtime.kernels.jit import jitted
from qbnnc.runtime.kernels.vectors import (
    F32,
    I8,
    I32,
    I64,
    constant_add,
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


@dataclass(frozen=True, slots=True)
class Shape:
    """The geometry and form of the tiles of a panel.

    `rows` are the positions of a tile, the most first and 1 last. `wide` tiles take codes that are
    too large for the plain product. Their caller decides that: `contraction.lowering.needs_wide`.
    `steps` k-blocks are summed as int16, which is proved to hold them, and divide the k-blocks of a
    run. With `words`, operands and weights are pairs of int16. With `sums`, the tiles store their
    accumulators as int32 [rows][channels], otherwise codes.
    """

    rows: tuple[int, ...]
    channels: int
    wide: bool = False
    sums: bool = False
    steps: int = 1
    words: bool = False

    def __str__(self) -> str:
        marks = {"w": self.wide, "s": self.sums, f"d{self.steps}": self.steps > 1, "p": self.words}
        rows = "_".join(map(str, self.rows))
        return f"{rows}x{self.channels}" + "".join(m for m, has in marks.items() if has)

    def product(self, isa: Isa) -> Emitter:
        """Return the product of one k-block."""
        if self.words:
            return WORD_PRODUCTS[isa]
        return (WIDE_PRODUCTS if self.wide else PRODUCTS)[isa]

    def vectors(self, isa: Isa) -> list[tuple[int, int]]:
        """Return (first channel, lanes) of each vector of a row."""
        starts = range(0, self.channels, isa.lanes)
        return [(start, min(isa.lanes, self.channels - start)) for start in starts]


ARGUMENTS: list[types.Type] = [
    *[types.int64] * 10,
    *[types.int32, types.float32, types.float32],
    types.int64,
]
KINDS = [I64] * 10 + [I32, F32, F32, I64]
NAMES = "arena x segments count k_blocks weights bias factor out channel zero low high positions"


def panel_kernel(isa: Isa, shape: Shape) -> Any:
    """Make the kernel of a panel, for numba's jitted code.

    Its result is zero + rint(clip((sum + bias) * factor, low, high)) for each code. Arguments are
    numbers or addresses, in this order:

        arena       address of the arena
        x           address of int64 [positions]: where operands begin in the arena, in bytes
        segments    address of int32 [count]: where runs begin, from x
        count       runs of an operand
        k_blocks    k-blocks of a run
        weights     address of the panel
        bias        address of int32 [channels]
        factor      address of float32 [channels]
        out         address of int64 [positions]: where results go in the arena, in bytes
        channel     bytes that are added to each of these
        zero, low, high
        positions
    """
    name = f"qbnnc_panel_{isa.name}_{shape}"
    return jitted(name, ARGUMENTS, partial(define_panel, isa=isa, shape=shape))


def define_panel(module: ir.Module, name: str, isa: Isa, shape: Shape) -> ir.Function:
    """Write the kernel of a panel as a function of the module."""
    function = internal_function(module, name, KINDS, NAMES.split())
    if isa is Isa.NEON_DOT:
        enable(function, isa.features)
    _Panel(function, isa, shape).emit()
    return function


class _Panel:
    def __init__(self, function: ir.Function, isa: Isa, shape: Shape) -> None:
        (
            self.arena, self.x, self.segments, self.count, self.k_blocks, self.weights, bias,
            factor, self.out, self.channel, zero, low, high, self.positions,
        ) = function.args  # fmt: skip
        self.isa, self.shape, self.vectors = isa, shape, shape.vectors(isa)
        self.product = shape.product(isa)
        self.shifts = shape.wide and isa in SIGNED
        self.builder = build = ir.IRBuilder(function.append_basic_block("entry"))
        kinds = [(4 * at, ir.VectorType(I32, n), ir.VectorType(F32, n)) for at, n in self.vectors]
        self.bias = [load(build, bias, ints, at) for at, ints, _ in kinds]
        self.factor = [load(build, factor, floats, at) for at, _, floats in kinds]
        self.zero, self.low, self.high = (
            {lanes: splat(build, value, lanes) for _, lanes in self.vectors}
            for value in (zero, low, high)
        )

    def emit(self) -> None:
        """Write a loop over the tiles of each number of rows."""
        build, first, left = self.builder, I64(0), self.positions
        for rows in self.shape.rows:
            turns = build.udiv(left, I64(rows)) if rows > 1 else left
            with counted(build, turns) as turn:
                at = times(build, build.add(first, times(build, turn, rows)), 8)
                self.tile(rows, build.add(self.x, at), build.add(self.out, at))
            done = times(build, turns, rows)
            first, left = build.add(first, done), build.sub(left, done)
        build.ret_void()

    def tile(self, rows: int, x: ir.Value, out: ir.Value) -> None:
        """Write two nested loops, then the end of the accumulators."""
        build, steps = self.builder, self.shape.steps
        bases = [build.add(self.arena, load(build, x, I64, 8 * m)) for m in range(rows)]
        begin = [self.bias] * rows
        if self.shifts:
            begin.append([splat_constant(I32, lanes, 0) for _, lanes in self.vectors])
        with _Loop(build, self.count, self.weights, begin) as segments:
            place = load(build, build.add(self.segments, times(build, segments.index, 4)), I32)
            offset = build.sext(place, I64)
            starts = [build.add(base, offset) for base in bases]
            pointer, sums = segments.pointer, segments.sums
            done, left = I64(0), self.k_blocks
            for some in sorted({steps, UNROLL.get(self.isa, steps)}, reverse=True):
                turns = build.udiv(left, I64(some))
                with _Loop(build, turns, pointer, sums) as loop:
                    inside = times(build, build.add(done, times(build, loop.index, some)), 4)
                    places = [build.add(start, inside) for start in starts]
                    pointer, sums = loop.pointer, loop.sums
                    for number in range(0, some, steps):
                        operands = [
                            self.operands(pointer, places, number + i) for i in range(steps)
                        ]
                        if steps > 1:
                            sums = DEEP_PRODUCT(build, operands, sums)
                        else:
                            sums = self.product(build, operands[0], sums)
                    size = 4 * self.shape.channels * some
                    loop.next(constant_add(build, pointer, size), sums)
                pointer, sums = loop.last_pointer, loop.last_sums
                all_turns = times(build, turns, some)
                done, left = build.add(done, all_turns), build.sub(left, all_turns)
            segments.next(pointer, sums)
        self.finish(segments.last_sums, out)

    def operands(self, pointer: ir.Value, places: list[ir.Value], number: int) -> Operands:
        """Load the operands of k-block `number` from there."""
        build, first = self.builder, number * 4 * self.shape.channels
        codes = [load(build, place, I32, 4 * number) for place in places]
        if self.shifts:
            codes = [*(build.xor(x, I32(0x80808080)) for x in codes), I32(0x01010101)]
        kinds = [(first + 4 * at, ir.VectorType(I8, 4 * lanes)) for at, lanes in self.vectors]
        return Operands(codes, [load(build, pointer, kind, at) for at, kind in kinds])

    def finish(self, sums: Accumulators, out: ir.Value) -> None:
        """Store the accumulators, or requantise them and store codes."""
        build = self.builder
        if self.shifts:
            *sums, weights = sums
            more = [build.shl(w, splat_constant(I32, w.type.count, 7)) for w in weights]
            sums = [
                [build.add(total, m) for total, m in zip(row, more, strict=True)] for row in sums
            ]
        for m, row in enumerate(sums):
            place = build.add(load(build, out, I64, 8 * m), self.channel)
            target = build.add(self.arena, place)
            for v, (at, _) in enumerate(self.vectors):
                if self.shape.sums:
                    store(build, row[v], target, 4 * at)
                else:
                    store(build, self.requantized(row[v], v), target, at)

    def requantized(self, total: ir.Value, v: int) -> ir.Value:
        """Make codes of the accumulators of vector `v`."""
        build, lanes = self.builder, total.type.count
        floats = ir.VectorType(F32, lanes)
        real = build.fmul(build.sitofp(total, floats), self.factor[v])
        code = rounded(build, real, self.low[lanes], self.high[lanes], self.isa)
        return build.trunc(build.add(code, self.zero[lanes]), ir.VectorType(I8, lanes))


class _Loop:
    """A loop over a pointer to weights and the accumulators, perhaps of no turn."""

    def __init__(
        self, build: ir.IRBuilder, count: ir.Value, pointer: ir.Value, sums: Accumulators
    ) -> None:
        self.build, self.count = build, count
        self._begin = (pointer, sums)

    def __enter__(self) -> _Loop:
        build, (pointer, sums) = self.build, self._begin
        self.before = build.block
        self.head, self.after = (build.append_basic_block(name) for name in ("loop", "after"))
        build.cbranch(build.icmp_signed("<", I64(0), self.count), self.head, self.after)
        build.position_at_end(self.head)
        self.index = build.phi(I64)
        self.index.add_incoming(I64(0), self.before)
        self.pointer = self._phi(pointer)
        self.sums = [[self._phi(value) for value in row] for row in sums]
        return self

    def next(self, pointer: ir.Value, sums: Accumulators) -> None:
        """Set the values with which the next turn begins, or which the loop leaves."""
        self._next = (pointer, sums)

    def __exit__(self, *_: object) -> None:
        build, (pointer, sums), (first, begin) = self.build, self._next, self._begin
        index, end = constant_add(build, self.index, 1), build.block
        self.index.add_incoming(index, end)
        self.pointer.add_incoming(pointer, end)
        for phis, values in zip(self.sums, sums, strict=True):
            for phi, value in zip(phis, values, strict=True):
                phi.add_incoming(value, end)
        build.cbranch(build.icmp_signed("<", index, self.count), self.head, self.after)
        build.position_at_end(self.after)
        self.last_pointer = self._phi(first, (pointer, end))
        self.last_sums = [
            [self._phi(a, (b, end)) for a, b in zip(before, row, strict=True)]
            for before, row in zip(begin, sums, strict=True)
        ]

    def _phi(self, first: ir.Value, *others: tuple[ir.Value, ir.Block]) -> ir.Value:
        phi = self.build.phi(first.type)
        for value, block in ((first, self.before), *others):
            phi.add_incoming(value, block)
        return phi
