"""The product of a tile, as LLVM IR.

                   `vectors` vectors of output channels
                +------------------------------------+
    position 0  |  acc[0][0]         acc[0][1]       |   for each segment of K
    position 1  |  acc[1][0]         acc[1][1]       |     for each four codes of it
       ...      |                                    |       w[v]: four weights in each lane
    `rows` - 1  |  acc[rows-1][0]    acc[rows-1][1]  |       for each position m
                +------------------------------------+         x: its four codes, in every lane
                                                               acc[m][v] += dot(x, w[v])

Accumulators are int32 and stay in registers. The codes are read where they lie: position m's
operand has `segments` runs of bytes, whose distances are the same for all positions. So one kernel
serves a linear layer and a convolution of any window and stride. If a run is no multiple of four,
its last weights are zero, and any codes may stand there.

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
    WIDE_PRODUCTS,
    WORD_PRODUCTS,
    Accumulators,
    Emitter,
    Operands,
)
from qbnnc.runtime.isa import Isa
from qbnnc.runtime.kernels.vectors import (
    F32,
    I8,
    I32,
    I64,
    LANES,
    concatenate,
    constant_add,
    enable,
    internal_function,
    jitted,
    load,
    rounded,
    splat,
    splat_constant,
    store,
    times,
)


@dataclass(frozen=True, slots=True)
class Shape:
    """The geometry and form of a tile.

    `wide` tiles take codes that are too large for the plain product. Their caller decides that:
    `contraction.lowering.needs_wide`. `steps` k-blocks are summed as int16, which is proved to hold
    them, and divide the k-blocks of a run. With `words`, operands and weights are pairs of int16.
    With `sums`, the tile stores its accumulators as int32 [rows][channels], otherwise codes.
    """

    rows: int
    vectors: int
    wide: bool = False
    sums: bool = False
    steps: int = 1
    words: bool = False

    @property
    def channels(self) -> int:
        """The output channels of a tile."""
        return self.vectors * LANES

    def __str__(self) -> str:
        marks = {"w": self.wide, "s": self.sums, f"d{self.steps}": self.steps > 1, "p": self.words}
        return f"{self.rows}x{self.channels}" + "".join(m for m, has in marks.items() if has)

    def product(self, isa: Isa) -> Emitter:
        """Return the product of one k-block."""
        if self.words:
            return WORD_PRODUCTS[isa]
        return (WIDE_PRODUCTS if self.wide else PRODUCTS)[isa]


def tile(isa: Isa, shape: Shape) -> Any:
    """Make the kernel of a tile, for numba's jitted code.

    Its result is zero + rint(clip((sum + bias) * factor, low, high)) for each code. Arguments are
    numbers or addresses, in this order:

        arena       address of the arena
        x           address of int64 [rows]: where operands begin in the arena, in bytes
        segments    address of int32 [count]: where runs begin, from x
        count       runs of an operand
        k_blocks    k-blocks of a run
        weights     address of the panel
        bias        address of int32 [channels]
        factor      address of float32 [channels]
        out         address of int64 [rows]: where results go in the arena, in bytes
        channel     bytes that are added to each of these
        zero, low, high
    """
    arguments = [types.int64] * 10 + [types.int32, types.float32, types.float32]
    name = f"qbnnc_tile_{isa.value}_{shape}"
    return jitted(name, arguments, partial(define_tile, isa=isa, shape=shape))


def define_tile(module: ir.Module, name: str, isa: Isa, shape: Shape) -> ir.Function:
    """Write one tile as a function of the module."""
    names = "arena x segments count k_blocks weights bias factor out channel zero low high".split()
    function = internal_function(module, name, [I64] * 10 + [I32, F32, F32], names)
    if isa is Isa.NEON_DOT:
        enable(function, isa.features)
    _Tile(function, isa, shape).emit()
    return function


class _Tile:
    def __init__(self, function: ir.Function, isa: Isa, shape: Shape) -> None:
        (
            self.arena, self.x, self.segments, self.count, self.k_blocks, self.weights,
            self.bias, self.factor, self.out, self.channel, self.zero, self.low, self.high,
        ) = function.args  # fmt: skip
        self.function, self.shape = function, shape
        self.product = shape.product(isa)
        self.shifts = shape.wide and isa in SIGNED
        self.builder = ir.IRBuilder(function.append_basic_block("entry"))

    def emit(self) -> None:
        """Write two nested loops, then the end of the accumulators."""
        build = self.builder
        bases = [
            build.add(self.arena, load(build, self.x, I64, 8 * m)) for m in range(self.shape.rows)
        ]
        rows = self.shape.rows + self.shifts
        zeros = [[splat_constant(I32, LANES, 0)] * self.shape.vectors] * rows
        with _Loop(build, self.count, self.weights, zeros) as segments:
            place = load(build, build.add(self.segments, times(build, segments.index, 4)), I32)
            offset = build.sext(place, I64)
            starts = [build.add(base, offset) for base in bases]
            steps = self.shape.steps
            turns = build.udiv(self.k_blocks, I64(steps)) if steps > 1 else self.k_blocks
            with _Loop(build, turns, segments.pointer, segments.sums) as loop:
                operands = [self.operands(loop, starts, steps, number) for number in range(steps)]
                if steps > 1:
                    sums = DEEP_PRODUCT(build, operands, loop.sums)
                else:
                    sums = self.product(build, operands[0], loop.sums)
                step = 4 * self.shape.channels * steps
                loop.next(constant_add(build, loop.pointer, step), sums)
            segments.next(loop.last_pointer, loop.last_sums)
        self.finish(segments.last_sums)
        build.ret_void()

    def operands(self, loop: _Loop, starts: list[ir.Value], steps: int, number: int) -> Operands:
        """Load the operands of step `number`, of the `steps` that a turn of the loop takes."""
        build = self.builder
        inside = times(build, loop.index, 4 * steps)
        kind, first = ir.VectorType(I8, 4 * LANES), number * 4 * self.shape.channels
        codes = [load(build, build.add(start, inside), I32, 4 * number) for start in starts]
        if self.shifts:
            codes = [*(build.xor(x, I32(0x80808080)) for x in codes), I32(0x01010101)]
        return Operands(
            codes,
            [
                load(build, loop.pointer, kind, first + 4 * LANES * v)
                for v in range(self.shape.vectors)
            ],
        )

    def finish(self, sums: Accumulators) -> None:
        """Add the bias and store the accumulators, or requantise them and store codes."""
        build, vectors = self.builder, range(self.shape.vectors)
        ints, floats = ir.VectorType(I32, LANES), ir.VectorType(F32, LANES)
        bias = [load(build, self.bias, ints, 4 * LANES * v) for v in vectors]
        if self.shifts:
            *sums, weights = sums
            bias = [
                build.add(b, build.shl(w, splat_constant(I32, LANES, 7)))
                for b, w in zip(bias, weights, strict=True)
            ]
        factor = [load(build, self.factor, floats, 4 * LANES * v) for v in vectors]
        zero, low, high = (splat(build, v, LANES) for v in (self.zero, self.low, self.high))
        for m, row in enumerate(sums):
            place = build.add(load(build, self.out, I64, 8 * m), self.channel)
            target = build.add(self.arena, place)
            totals = [build.add(total, b) for total, b in zip(row, bias, strict=True)]
            if not self.shape.sums:
                codes = [
                    build.add(
                        rounded(build, build.fmul(build.sitofp(total, floats), f), low, high), zero
                    )
                    for total, f in zip(totals, factor, strict=True)
                ]
                totals = [concatenate(build, [
                    build.trunc(c, ir.VectorType(I8, LANES)) for c in codes
                ])]  # fmt: skip
            for v, value in enumerate(totals):
                store(build, value, target, 4 * LANES * v)


class _Loop:
    """A loop of at least one turn, over a pointer to weights and the accumulators."""

    def __init__(
        self, build: ir.IRBuilder, count: ir.Value, pointer: ir.Value, sums: Accumulators
    ) -> None:
        self.build, self.count = build, count
        self._begin = (pointer, sums)

    def __enter__(self) -> _Loop:
        build, (pointer, sums) = self.build, self._begin
        before = build.block
        self.head = build.append_basic_block("loop")
        build.branch(self.head)
        build.position_at_end(self.head)
        self.index = build.phi(I64)
        self.index.add_incoming(I64(0), before)
        self.pointer = build.phi(I64)
        self.pointer.add_incoming(pointer, before)
        self.sums = [[build.phi(value.type) for value in row] for row in sums]
        for row, values in zip(self.sums, sums, strict=True):
            for phi, value in zip(row, values, strict=True):
                phi.add_incoming(value, before)
        return self

    def next(self, pointer: ir.Value, sums: Accumulators) -> None:
        """Set the values with which the next turn begins, or which the loop leaves."""
        self.last_pointer, self.last_sums = pointer, sums

    def __exit__(self, *_: object) -> None:
        build = self.build
        index = constant_add(build, self.index, 1)
        self.index.add_incoming(index, build.block)
        self.pointer.add_incoming(self.last_pointer, build.block)
        for row, values in zip(self.sums, self.last_sums, strict=True):
            for phi, value in zip(row, values, strict=True):
                phi.add_incoming(value, build.block)
        after = build.append_basic_block("after")
        build.cbranch(build.icmp_signed("<", index, self.count), self.head, after)
        build.position_at_end(after)
