"""Noise in vector registers, as LLVM IR: random words, and their codes of N(0, 1).

A quad is four successive lanes of each channel of a column. It is made of one vector of words:

    word[n]  = mix(key + GOLDEN * (first lane of channel n // 4 + 1 + turn))
    lanes[n] = the 64 bits from the channel's first lane on, in words `turn` and `turn` + 1
    noise    = eps(lane) for each lane: [channels][4]

Two forms make eps of a lane, and give the same codes:

    REGISTERS   thresholds in registers: a lane's high byte finds the least code, and the code grows
                by one at up to two thresholds of the low byte. It needs vpermi2b (AVX-512 VBMI).
    TABLE       a table of all lanes in memory, byte by byte.

Source: docs/semantics.md, section 5.
"""

from __future__ import annotations

from enum import Enum
from functools import cache, partial
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numpy.typing import NDArray

from qbnnc.ir.rng import GOLDEN, eps_table
from qbnnc.runtime.isa import chosen, target_features
from qbnnc.runtime.kernels.vectors import (
    I8,
    I16,
    I64,
    constant_add,
    counted,
    declare,
    internal_function,
    jitted,
    load,
    shuffle,
    splat,
    splat_constant,
    store,
    times,
)
from qbnnc.runtime.packing import K_BLOCK

_FIRST, _SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB  # the multipliers of splitmix64
_WORDS = 2  # vectors of words of a quad
_BINS = 128  # bytes that vpermi2b looks up in
_FINE = 8  # high bytes below this have finer bins: 16 of a byte
_THRESHOLDS = 2  # of a bin, at most


class NoiseForm(Enum):
    """How the codes of lanes are found."""

    REGISTERS = "registers"
    TABLE = "table"

    @property
    def channels(self) -> int:
        """The channels of a column: a quad of them fills a vector."""
        return 16 if self is NoiseForm.REGISTERS else 8

    @property
    def quad(self) -> int:
        """The bytes of a quad."""
        return K_BLOCK * self.channels

    @property
    def features(self) -> tuple[str, ...]:
        """The features that the form needs, by LLVM's names."""
        return ("avx512bw", "avx512dq", "avx512vbmi") if self is NoiseForm.REGISTERS else ()

    def table(self) -> NDArray[np.int8] | NDArray[np.uint8]:
        """Return the constants from which eps is made."""
        return threshold_table() if self is NoiseForm.REGISTERS else eps_table()


def noise_form() -> NoiseForm:
    """Choose the form for the instruction set of the kernels."""
    found = target_features()
    has = all(found.get(name, False) for name in NoiseForm.REGISTERS.features)
    return NoiseForm.REGISTERS if has and "avx512vl" in chosen().features else NoiseForm.TABLE


@cache
def threshold_table() -> NDArray[np.uint8]:
    """Compute the bins of the REGISTERS form: uint8 [3][fine, coarse][128].

    Lanes below 2^15 have the codes -127 .. 0, and lane 65535 - v has minus the code of v. The code
    of a lane is its bin's first one, and 1 for each threshold of the bin that its low byte exceeds. A threshold of 255 is never reached.
    """
    codes = eps_table()[: 1 << 15].astype(np.int64)
    table = np.full((1 + _THRESHOLDS, 2, _BINS), 255, np.uint8)
    for kind, size in enumerate((_FINE * 256 // _BINS, 256)):
        bins = codes.reshape(-1, size)[:_BINS]
        table[0, kind] = bins[:, 0]
        for number, steps in enumerate(np.diff(bins, axis=1)):
            if kind == 1 and number < _FINE:
                continue
            at = np.repeat(np.flatnonzero(steps), steps[steps != 0])
            table[1 : 1 + len(at), kind, number] = (number * size + at) % 256
    return table


class Noise:
    """The state of a column's noise: a counter and the last word of each channel."""

    def __init__(self, build: ir.IRBuilder, form: NoiseForm, key: ir.Value, lane: ir.Value,
                 stride: ir.Value, step: ir.Value, table: ir.Value) -> None:  # fmt: skip
        self.form, self.table, count = form, table, form.channels // _WORDS
        self.room = build.ptrtoint(build.alloca(ir.VectorType(I8, 2 * form.quad)), I64)
        self.kind = ir.VectorType(I64, count)
        self.increment = splat(build, build.mul(step, I64(int(GOLDEN))), count)
        self.shifts, self.counters, self.words = [], [], []
        for vector in range(_WORDS):
            numbers = ir.Constant(self.kind, [vector * count + n for n in range(count)])
            lanes = build.mul(numbers, splat(build, stride, count))
            lanes = build.add(lanes, splat(build, lane, count))
            inside = build.and_(lanes, splat_constant(I64, count, K_BLOCK - 1))
            self.shifts.append(build.mul(inside, splat_constant(I64, count, 16)))
            word = build.lshr(lanes, splat_constant(I64, count, 2))
            word = build.add(word, splat_constant(I64, count, 1))
            counter = build.mul(word, splat_constant(I64, count, int(GOLDEN)))
            counter = build.add(counter, splat(build, key, count))
            self.counters.append(counter)
            self.words.append(_mix(build, counter))

    def state(self) -> list[ir.Value]:
        return [*self.counters, *self.words]

    def draw(self, build: ir.IRBuilder, state: list[ir.Value]) -> tuple[list[ir.Value], list[ir.Value]]:
        """Emit the next quad: its lanes, i64 [_WORDS], and the state that follows."""
        funnel = declare(build, f"llvm.fshr.v{self.kind.count}i64", self.kind, [self.kind] * 3)
        counters = [build.add(c, self.increment) for c in state[:_WORDS]]
        words = [_mix(build, c) for c in counters]
        lanes = [build.call(funnel, [new, old, shift])
                 for new, old, shift in zip(words, state[_WORDS:], self.shifts, strict=True)]
        return lanes, [*counters, *words]


    def store(self, build: ir.IRBuilder, lanes: list[ir.Value], places: list[ir.Value]) -> None:
        """Emit the noise of a quad; lane j of channel n goes to places[j] + 4n."""
        if self.form is NoiseForm.REGISTERS:  # whose places lie side by side
            store(build, eps_by_thresholds(build, lanes, self.table), places[0])
            return
        size = 8 * lanes[0].type.count
        for number, vector in enumerate(lanes):
            store(build, vector, self.room, size * number)
        for channel in range(self.form.channels):
            for j, place in enumerate(places):
                lane = load(build, self.room, I16, 8 * channel + 2 * j)
                code = load(build, build.add(self.table, build.zext(lane, I64)), I8)
                store(build, code, place, K_BLOCK * channel)


def draw_quads(form: NoiseForm) -> Any:
    """Make the kernel of noise alone: the first seven arguments of `drawing.draw_column`."""
    define = partial(define_quads, form=form)
    return jitted(f"qbnnc_noise_{form.value}", [types.int64] * 7, define)


def define_quads(module: ir.Module, name: str, form: NoiseForm) -> ir.Function:
    """Write the kernel of noise as a function of the module."""
    names = "noise key lane stride step quads table".split()
    function = internal_function(module, name, [I64] * 7, names)
    to, key, lane, stride, step, quads, table = function.args
    build = ir.IRBuilder(function.append_basic_block("entry"))
    noise = Noise(build, form, key, lane, stride, step, table)
    kept = [build.alloca(value.type) for value in noise.state()]
    for value, pointer in zip(noise.state(), kept, strict=True):
        build.store(value, pointer)
    with counted(build, quads) as quad:
        lanes, following = noise.draw(build, [build.load(pointer) for pointer in kept])
        for value, pointer in zip(following, kept, strict=True):
            build.store(value, pointer)
        place = build.add(to, times(build, quad, form.quad))
        noise.store(build, lanes, [constant_add(build, place, j) for j in range(K_BLOCK)])
    build.ret_void()
    return function


def _mix(build: ir.IRBuilder, z: ir.Value) -> ir.Value:
    """Emit the output function of splitmix64."""
    for shift, factor in ((30, _FIRST), (27, _SECOND)):
        z = build.xor(z, build.lshr(z, splat_constant(I64, z.type.count, shift)))
        z = build.mul(z, splat_constant(I64, z.type.count, factor))
    return build.xor(z, build.lshr(z, splat_constant(I64, z.type.count, 31)))


def eps_by_thresholds(build: ir.IRBuilder, lanes: list[ir.Value], table: ir.Value) -> ir.Value:
    """Emit the codes of 64 lanes by vpermi2b: i8 [64], in their order."""
    pairs, bytes_ = ir.VectorType(I16, 32), ir.VectorType(I8, 64)
    look = declare(build, "llvm.x86.avx512.vpermi2var.qi.512", bytes_, [bytes_] * 3)
    drawn = [build.bitcast(v, pairs) for v in lanes]

    def of_16(number: int) -> ir.Constant:
        return splat_constant(I16, 32, number)

    def both(first: ir.Value, second: ir.Value) -> ir.Value:
        """Put bytes of the first lanes at even places and bytes of the second at odd ones."""
        even = build.and_(first, of_16(0xFF))
        return build.bitcast(build.or_(even, build.and_(second, of_16(0xFF00))), bytes_)

    signs = [build.ashr(v, of_16(15)) for v in drawn]
    a, b = (build.xor(v, sign) for v, sign in zip(drawn, signs, strict=True))
    negative = build.icmp_signed("<", both(signs[0], signs[1]), ir.Constant(bytes_, None))
    low = both(a, build.shl(b, of_16(8)))
    high = both(build.lshr(a, of_16(8)), b)
    fine = both(build.lshr(a, of_16(4)), build.shl(b, of_16(4)))
    is_fine = build.icmp_unsigned("<", high, splat_constant(I8, 64, _FINE))

    def of_bin(number: int) -> ir.Value:
        halves = [load(build, table, bytes_, 4 * 64 * number + 64 * i) for i in range(4)]
        small = build.call(look, [halves[0], fine, halves[1]])
        large = build.call(look, [halves[2], high, halves[3]])
        return build.select(is_fine, small, large)

    code, one = of_bin(0), splat_constant(I8, 64, 1)
    for number in range(1, 1 + _THRESHOLDS):
        reached = build.icmp_unsigned(">", low, of_bin(number))
        code = build.select(reached, build.add(code, one), code)
    code = build.select(negative, build.sub(ir.Constant(bytes_, None), code), code)
    return shuffle(build, code, code, [*range(0, 64, 2), *range(1, 64, 2)])
