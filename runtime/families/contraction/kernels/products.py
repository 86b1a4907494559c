"""The product of four 8-bit pairs: the one place where instruction sets differ.

To add an instruction set, write a member of `runtime.isa.Isa`, a function like these, and a line in
PRODUCTS.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from llvmlite import ir

from qbnnc.runtime.isa import Isa
from qbnnc.runtime.kernels.vectors import (
    I8,
    I16,
    I32,
    concatenate,
    declare,
    part,
    shuffle,
    splat,
    splat_constant,
)

LANES = 8  # int32 numbers of a vector, where products have one width
Accumulators = list[list[ir.Value]]  # [rows][vectors]
Emitter = Callable[[ir.IRBuilder, "Operands", Accumulators], Accumulators]


@dataclass(frozen=True, slots=True)
class Operands:
    """The operands of one k-block.

    `codes` are i32 [rows], each with four codes; `weights` are <4*lanes x i8> [vectors].
    """

    codes: list[ir.Value]
    weights: list[ir.Value]


def multiply_vnni(build: ir.IRBuilder, operands: Operands, sums: Accumulators) -> Accumulators:
    """vpdpbusd: u8 x s8, four products and the sum into int32, exact.

    The operands are declared as int32, as in LLVM 20 and older. Newer versions declare bytes, and
    read this form as theirs.
    """

    def add(x: ir.Value, w: ir.Value, total: ir.Value) -> ir.Value:
        ints = total.type
        name = f"llvm.x86.avx512.vpdpbusd.{32 * ints.count}"
        dot = declare(build, name, ints, [ints] * 3)
        return build.call(dot, [total, build.bitcast(x, ints), build.bitcast(w, ints)])

    return _for_each(build, operands, sums, add)


def multiply_neon(build: ir.IRBuilder, operands: Operands, sums: Accumulators) -> Accumulators:
    """sdot on each half: s8 x s8, four products and the sum into int32, exact."""
    bytes_, ints = ir.VectorType(I8, 2 * LANES), ir.VectorType(I32, LANES // 2)
    dot = declare(build, "llvm.aarch64.neon.sdot.v4i32.v16i8", ints, [ints, bytes_, bytes_])

    def add(x: ir.Value, w: ir.Value, total: ir.Value) -> ir.Value:
        halves = [build.call(dot, [part(build, v, half) for v in (total, x, w)]) for half in (0, 1)]
        return concatenate(build, halves)

    return _for_each(build, operands, sums, add)


def multiply_avx2(build: ir.IRBuilder, operands: Operands, sums: Accumulators) -> Accumulators:
    """vpmaddubsw, vpmaddwd by ones: exact while two products fit into int16."""
    pairs, ints = ir.VectorType(I16, 2 * LANES), ir.VectorType(I32, LANES)
    bytes_ = ir.VectorType(I8, 4 * LANES)
    products = declare(build, "llvm.x86.avx2.pmadd.ub.sw", pairs, [bytes_] * 2)
    add_pairs = declare(build, "llvm.x86.avx2.pmadd.wd", ints, [pairs] * 2)
    ones = splat_constant(I16, 2 * LANES, 1)

    def add(x: ir.Value, w: ir.Value, total: ir.Value) -> ir.Value:
        return build.add(total, build.call(add_pairs, [build.call(products, [x, w]), ones]))

    return _for_each(build, operands, sums, add)


def multiply_avx2_deep(
    build: ir.IRBuilder, steps: list[Operands], sums: Accumulators
) -> Accumulators:
    """vpmaddubsw for each step, sums as int16, then vpmaddwd once.

    This is exact while the products of all steps that share a lane fit into int16 together.
    """
    pairs, ints = ir.VectorType(I16, 2 * LANES), ir.VectorType(I32, LANES)
    bytes_ = ir.VectorType(I8, 4 * LANES)
    products = declare(build, "llvm.x86.avx2.pmadd.ub.sw", pairs, [bytes_] * 2)
    add_pairs = declare(build, "llvm.x86.avx2.pmadd.wd", ints, [pairs] * 2)
    ones = splat_constant(I16, 2 * LANES, 1)
    made: Accumulators = []
    for m, row in enumerate(sums):
        codes = [build.bitcast(splat(build, step.codes[m], LANES), bytes_) for step in steps]
        totals = []
        for v, total in enumerate(row):
            added, *more = (
                build.call(products, [x, step.weights[v]])
                for x, step in zip(codes, steps, strict=True)
            )
            for product in more:
                added = build.add(added, product)
            totals.append(build.add(total, build.call(add_pairs, [added, ones])))
        made.append(totals)
    return made


def multiply_avx2_wide(build: ir.IRBuilder, operands: Operands, sums: Accumulators) -> Accumulators:
    """vpmaddwd of the even and the odd codes, widened to int16: exact for all codes."""
    pairs, ints = ir.VectorType(I16, 2 * LANES), ir.VectorType(I32, LANES)
    multiply = declare(build, "llvm.x86.avx2.pmadd.wd", ints, [pairs] * 2)
    eight = splat_constant(I16, 2 * LANES, 8)

    def odd(v: ir.Value) -> ir.Value:
        return build.ashr(build.bitcast(v, pairs), eight)

    def even(v: ir.Value) -> ir.Value:
        return build.ashr(build.shl(build.bitcast(v, pairs), eight), eight)

    weights = [(even(w), odd(w)) for w in operands.weights]
    made: Accumulators = []
    for codes, row in zip(operands.codes, sums, strict=True):
        x = build.bitcast(splat(build, codes, LANES), pairs)
        evens, odds = build.and_(x, splat_constant(I16, 2 * LANES, 255)), build.lshr(x, eight)
        made.append([
            build.add(
                build.add(total, build.call(multiply, [evens, w_even])),
                build.call(multiply, [odds, w_odd]),
            )
            for total, (w_even, w_odd) in zip(row, weights, strict=True)
        ])  # fmt: skip
    return made


def multiply_avx2_words(
    build: ir.IRBuilder, operands: Operands, sums: Accumulators
) -> Accumulators:
    """vpmaddwd on operands that are pairs of int16."""
    pairs, ints = ir.VectorType(I16, 2 * LANES), ir.VectorType(I32, LANES)
    multiply = declare(build, "llvm.x86.avx2.pmadd.wd", ints, [pairs] * 2)
    weights, made = [build.bitcast(w, pairs) for w in operands.weights], list[list[ir.Value]]()
    for codes, row in zip(operands.codes, sums, strict=True):
        x = build.bitcast(splat(build, codes, LANES), pairs)
        products = (build.call(multiply, [x, w]) for w in weights)
        made.append([build.add(t, p) for t, p in zip(row, products, strict=True)])
    return made


def multiply_generic(build: ir.IRBuilder, operands: Operands, sums: Accumulators) -> Accumulators:
    """Products in int32, for which LLVM selects instructions of the CPU."""
    wide = ir.VectorType(I32, 4 * LANES)

    def add(x: ir.Value, w: ir.Value, total: ir.Value) -> ir.Value:
        products = build.mul(build.zext(x, wide), build.sext(w, wide))
        for j in range(4):
            lanes = [4 * lane + j for lane in range(LANES)]
            total = build.add(total, shuffle(build, products, products, lanes))
        return total

    return _for_each(build, operands, sums, add)


PRODUCTS: dict[Isa, Emitter] = {
    Isa.AVX512_VNNI: multiply_vnni,
    Isa.AVX512_VNNI_256: multiply_vnni,
    Isa.AVX_VNNI: multiply_vnni,
    Isa.NEON_DOT: multiply_neon,
    Isa.AVX2: multiply_avx2,
    Isa.GENERIC: multiply_generic,
}
WIDE_PRODUCTS = PRODUCTS | {Isa.AVX2: multiply_avx2_wide}
WORD_PRODUCTS = {Isa.AVX2: multiply_avx2_words}  # for Winograd's form, which pays nowhere else
UNROLL = {Isa.AVX512_VNNI: 2, Isa.AVX512_VNNI_256: 2}  # k-blocks in a turn of the loop, else 1
SIGNED = {Isa.NEON_DOT}  # the product takes codes as int8: a wide tile gives it code - 128
DEEP_PRODUCT = multiply_avx2_deep  # of AVX2 only: elsewhere four products are one instruction


def _for_each(
    build: ir.IRBuilder,
    operands: Operands,
    sums: Accumulators,
    add: Callable[[ir.Value, ir.Value, ir.Value], ir.Value],
) -> Accumulators:
    """Emit add(codes in every lane, weights, accumulator) for each accumulator."""
    made: Accumulators = []
    for codes, row in zip(operands.codes, sums, strict=True):
        x = {
            lanes: build.bitcast(splat(build, codes, lanes), ir.VectorType(I8, 4 * lanes))
            for lanes in {total.type.count for total in row}
        }
        made.append([
            add(x[total.type.count], w, total)
            for w, total in zip(operands.weights, row, strict=True)
        ])  # fmt: skip
    return made
