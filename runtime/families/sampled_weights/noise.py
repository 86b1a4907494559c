"""Noise in vector registers, as LLVM IR: random words, and their codes of N(0, 1).

A quad is four successive lanes of each channel of a column, int8 [channels][4]. Quad i of channel n
has the 64 bits from the channel's lane 4i on, which two words share:

    lane    = first lane + n * stride
    word[i] = mix(key + GOLDEN * (lane // 4 + 1 + i * step))
    quad[i] = eps of each lane in (word[i + 1] : word[i]) >> 16 * (lane % 4)

Two forms find the codes of lanes, and give the same ones:

    REGISTERS   tables in registers. A lane's high byte finds the least code, and the code grows by
                one at up to two thresholds of the low byte. It needs vpermi2b (AVX-512 VBMI).
    TABLE       a table of all lanes in memory, byte by byte.

Source: docs/semantics.md, section 5.
"""

from __future__ import annotations

from enum import Enum
from functools import cache

import numpy as np
from llvmlite import ir
from numpy.typing import NDArray

from qbnnc.ir.rng import GOLDEN, LANES_PER_WORD, eps_table
from qbnnc.runtime.isa import Isa, target_features
from qbnnc.runtime.kernels.vectors import (
    I8,
    I16,
    I64,
    constant_add,
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

_FACTORS = (30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)  # of splitmix64
_VECTORS = 2  # of the words of a quad
_WIDTH = 64  # bytes of a vector in the REGISTERS form
_BINS, _FINE, _TWICE = 128, 8, 32  # see threshold_table
_PASSED_TWICE, _ONES, _ODD = 4 * _BINS, 4 * _BINS + _WIDTH, 4 * _BINS + 2 * _WIDTH


class NoiseForm(Enum):
    """A way to find the codes of lanes."""

    REGISTERS = "registers"
    TABLE = "table"

    @property
    def channels(self) -> int:
        """The channels of a column: four lanes of each fill two vectors of words."""
        return 16 if self is NoiseForm.REGISTERS else 8

    @property
    def quad(self) -> int:
        """The bytes of a quad, which fill one vector."""
        return LANES_PER_WORD * self.channels

    def beyond(self, channels: int) -> int:
        """Return the bytes that are read after a line: a last column may have half its channels."""
        return self.quad // 2 if channels % self.channels else 0

    @property
    def features(self) -> tuple[str, ...]:
        """The features that the form needs, by LLVM's names."""
        if self is NoiseForm.REGISTERS:
            return "avx512f", "avx512bw", "avx512dq", "avx512vbmi"
        return ()

    def table(self) -> NDArray[np.uint8]:
        """Return the constants by which a kernel finds codes."""
        if self is NoiseForm.REGISTERS:
            return threshold_table()
        return eps_table().view(np.uint8)


def noise_form(isa: Isa) -> NoiseForm:
    """Choose the form for an instruction set of this CPU."""
    found = target_features()
    has = all(found.get(name, False) for name in NoiseForm.REGISTERS.features)
    return NoiseForm.REGISTERS if has and isa is Isa.AVX512_VNNI else NoiseForm.TABLE


@cache
def threshold_table() -> NDArray[np.uint8]:
    """Compute the tables of the REGISTERS form, one after the other: uint8 [704].

    Lanes below 2^15 have the codes -127 .. 0, and lane 65535 - v has minus the code of v. The first
    2^11 lanes are in fine bins of 16, because the codes of the tails are dense, and the others are
    in coarse bins of 256. FIRST has the code of a bin's first lane, fine bins first. PASSED has its
    first threshold: a low byte beyond which the code is one more. Few bins have a second one, and
    PASSED_TWICE has it: [coarse, fine][32]. A threshold of 255 is never passed.
    """
    codes = eps_table()[: 1 << 15].astype(np.int64)
    tables = np.full((2, 2, _BINS), 255, np.uint8)
    twice = np.full((2, _TWICE), 255, np.uint8)
    for kind, size in enumerate((_FINE * 256 // _BINS, 256)):
        bins = codes.reshape(-1, size)[:_BINS]
        tables[0, kind] = bins[:, 0] % 256
        for number in range(_FINE if kind else 0, _BINS):
            passed = number * size + np.repeat(np.arange(size - 1), np.diff(bins[number]))
            tables[1, kind, number] = passed[0] % 256 if len(passed) else 255
            if len(passed) > 1:
                twice[1 - kind, number] = passed[1] % 256
    ones, odd = np.ones(_WIDTH, np.uint8), np.tile(np.array([0, 255], np.uint8), _WIDTH // 2)
    return np.concatenate([tables.ravel(), twice.ravel(), ones, odd])


class Noise:
    """The noise of a column, as code of a function that is being written.

    `state` is what a quad takes over from the one before it: for each vector of words the counter,
    a word that is half made, and two successive words. Words are made ahead in two parts, so that
    the processor need not look far ahead to overlap multiplications with the rest.
    """

    def __init__(
        self,
        build: ir.IRBuilder,
        form: NoiseForm,
        key: ir.Value,
        lane: ir.Value,
        stride: ir.Value,
        step: ir.Value,
        table: ir.Value,
    ) -> None:
        self.form, self.table, count = form, table, form.channels // _VECTORS
        self.room = build.ptrtoint(build.alloca(ir.VectorType(I8, 2 * form.quad)), I64)
        self.kind = ir.VectorType(I64, count)
        self.increment = splat(build, build.mul(step, I64(int(GOLDEN))), count)
        self.shifts, self.state = list[ir.Value](), list[ir.Value]()
        for vector in range(_VECTORS):
            numbers = ir.Constant(self.kind, [vector * count + n for n in range(count)])
            lanes = build.add(
                build.mul(numbers, splat(build, stride, count)), splat(build, lane, count)
            )
            inside = build.and_(lanes, self._of(LANES_PER_WORD - 1))
            self.shifts.append(build.mul(inside, self._of(16)))
            word = build.add(build.lshr(lanes, self._of(2)), self._of(1))
            counter = build.add(build.mul(word, self._of(int(GOLDEN))), splat(build, key, count))
            words = list[ir.Value]()
            for _ in range(2):
                words.append(self._end(build, self._begin(build, counter)))
                counter = build.add(counter, self.increment)
            self.state += [counter, self._begin(build, counter), *words]

    def _of(self, number: int) -> ir.Constant:
        return splat_constant(I64, self.kind.count, number)

    def _begin(self, build: ir.IRBuilder, z: ir.Value) -> ir.Value:
        """Emit the first half of splitmix64's output function."""
        return self._spread(build, z, *_FACTORS[0])

    def _end(self, build: ir.IRBuilder, z: ir.Value) -> ir.Value:
        z = self._spread(build, z, *_FACTORS[1])
        return build.xor(z, build.lshr(z, self._of(31)))

    def _spread(self, build: ir.IRBuilder, z: ir.Value, shift: int, factor: int) -> ir.Value:
        return build.mul(build.xor(z, build.lshr(z, self._of(shift))), self._of(factor))

    def draw(
        self, build: ir.IRBuilder, state: list[ir.Value]
    ) -> tuple[list[ir.Value], list[ir.Value]]:
        """Emit the lanes of a quad, two vectors of 64-bit words, and the state that follows."""
        funnel = declare(build, f"llvm.fshr.v{self.kind.count}i64", self.kind, [self.kind] * 3)
        lanes, following = list[ir.Value](), list[ir.Value]()
        for vector, shift in enumerate(self.shifts):
            counter, begun, word, next_word = state[4 * vector : 4 * vector + 4]
            lanes.append(build.call(funnel, [next_word, word, shift]))
            counter, made = build.add(counter, self.increment), self._end(build, begun)
            following += [counter, self._begin(build, counter), next_word, made]
        return lanes, following

    def store(self, build: ir.IRBuilder, lanes: list[ir.Value], places: list[ir.Value]) -> None:
        """Emit the codes of lanes; lane j of channel n goes to address places[j] + 4n.

        The places of the REGISTERS form lie side by side.
        """
        if self.form is NoiseForm.REGISTERS:
            store(build, eps_by_thresholds(build, lanes, self.table), places[0])
            return
        for number, vector in enumerate(lanes):
            store(build, vector, self.room, self.form.quad * number)
        for channel in range(self.form.channels):
            word = load(build, self.room, I64, 8 * channel)
            for j, place in enumerate(places):
                lane = build.and_(build.lshr(word, I64(16 * j)), I64(0xFFFF))
                store(
                    build,
                    load(build, build.add(self.table, lane), I8),
                    place,
                    LANES_PER_WORD * channel,
                )


def eps_by_thresholds(build: ir.IRBuilder, lanes: list[ir.Value], tables: ir.Value) -> ir.Value:
    """Emit the codes of 64 lanes in their order, i8 [64]; `tables` is a threshold_table's address.

    The bytes of both vectors of lanes are taken together, one vector at even places. Masks and ones
    come from memory too: LLVM would make constants anew in each turn.
    """
    words, bytes_ = ir.VectorType(I16, 32), ir.VectorType(I8, _WIDTH)
    look_up = declare(build, "llvm.x86.avx512.vpermi2var.qi.512", bytes_, [bytes_] * 3)
    permute = declare(build, "llvm.x86.avx512.permvar.qi.512", bytes_, [bytes_] * 2)
    funnel = declare(build, "llvm.fshl.v32i16", words, [words] * 3)
    ones, odd = (load(build, tables, bytes_, at) for at in (_ONES, _ODD))

    def both(in_even: ir.Value, in_odd: ir.Value) -> ir.Value:
        a, b = (build.bitcast(v, bytes_) for v in (in_even, in_odd))
        return build.or_(build.and_(b, odd), build.and_(a, build.not_(odd)))

    def of_words(number: int) -> ir.Constant:
        return splat_constant(I16, 32, number)

    def of_bytes(number: int) -> ir.Constant:
        return splat_constant(I8, _WIDTH, number)

    a, b = (build.bitcast(v, words) for v in lanes)
    inner, outer = build.call(funnel, [b, a, of_words(8)]), both(a, b)
    high, low = both(inner, outer), both(outer, inner)
    fine = both(build.lshr(a, of_words(4)), build.shl(b, of_words(4)))
    is_upper = build.icmp_signed("<", high, of_bytes(0))
    flip = build.sext(is_upper, bytes_)
    high, low, fine = (build.xor(v, flip) for v in (high, low, fine))
    is_fine = build.icmp_unsigned("<", high, of_bytes(_FINE))

    def of_bin(table: int) -> ir.Value:
        found = list[ir.Value]()
        for kind, number in enumerate((fine, high)):
            halves = [
                load(build, tables, bytes_, _BINS * (2 * table + kind) + _WIDTH * i) for i in (0, 1)
            ]
            found.append(build.call(look_up, [halves[0], number, halves[1]]))
        return build.select(is_fine, *found)

    def one_more(code: ir.Value, threshold: ir.Value) -> ir.Value:
        passed = build.icmp_unsigned(">", low, threshold)
        return build.select(passed, build.add(code, ones), code)

    number, most = build.select(is_fine, fine, high), of_bytes(_TWICE - 1)
    number = build.select(build.icmp_unsigned("<", number, most), number, most)
    number = build.select(is_fine, build.or_(number, of_bytes(_TWICE)), number)
    second = build.call(permute, [load(build, tables, bytes_, _PASSED_TWICE), number])
    code = one_more(one_more(of_bin(0), of_bin(1)), second)
    code = build.select(is_upper, build.sub(of_bytes(0), code), code)
    return shuffle(build, code, code, [*range(0, _WIDTH, 2), *range(1, _WIDTH, 2)])


def define_quads(module: ir.Module, name: str, form: NoiseForm) -> ir.Function:
    """Write the kernel of noise alone as a function of the module."""
    names = "noise key lane stride step quads table".split()
    function = internal_function(module, name, [I64] * 7, names)
    to, key, lane, stride, step, quads, table = function.args
    build = ir.IRBuilder(function.append_basic_block("entry"))
    noise = Noise(build, form, key, lane, stride, step, table)
    variables = Variables(build, noise.state)
    with counted(build, quads) as quad:
        lanes, following = noise.draw(build, variables.load(build))
        variables.store(build, following)
        place = build.add(to, times(build, quad, form.quad))
        noise.store(build, lanes, [constant_add(build, place, j) for j in range(LANES_PER_WORD)])
    build.ret_void()
    return function


class Variables:
    """Values that a loop changes. LLVM keeps them in registers."""

    def __init__(self, build: ir.IRBuilder, values: list[ir.Value]) -> None:
        self._pointers = [build.alloca(value.type) for value in values]
        self.store(build, values)

    def load(self, build: ir.IRBuilder) -> list[ir.Value]:
        return [build.load(pointer) for pointer in self._pointers]

    def store(self, build: ir.IRBuilder, values: list[ir.Value]) -> None:
        for value, pointer in zip(values, self._pointers, strict=True):
            build.store(value, pointer)
