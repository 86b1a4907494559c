"""The codes of a line, as LLVM IR: four weights of each channel of a column.

    code = clip(rint(f32(eps*sigma + R*mu) / r) + Z, low, high)

The sum is exact: |eps * sigma| <= 2^14, |mu| <= 2^7 and 0 < R < 2^16. The quotient fits int32,
because r is 1 or more.

A line is int8 [channels][4]. It is computed in four parts, each with four of every 16 codes. So x86
interleaves and packs them without crossing 16 bytes, and codes come out in order.

A column may have half its channels. Then its second half is computed too, from the parameters of
the first half and from any sigma and mu, and the first half's codes overwrite it.

Source: docs/semantics.md, section 6.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from llvmlite import ir

from qbnnc.runtime.families.sampled_weights.noise import NoiseForm
from qbnnc.runtime.isa import Isa
from qbnnc.runtime.kernels.vectors import (
    F32,
    I8,
    I16,
    I32,
    concatenate,
    declare,
    load,
    part,
    prefetch,
    shuffle,
    splat,
    splat_constant,
    store,
    times,
)

_HALVES = (0, 1)  # of each 16 codes, and of each 8
_ENDS = ("low", "high")
_MULTIPLIED = 3  # the part of 512-bit lines for which the divider has no time
_LINES_AHEAD = 8  # that sigma and mu are asked for
_Halves: TypeAlias = tuple[ir.Value, ir.Value]  # of the channels
_CURRENT_MODE = 4  # of rounding: half to even, unless the process has set another one


def line_codes(
    isa: Isa, form: NoiseForm, build: ir.IRBuilder, arguments: Mapping[str, ir.Value]
) -> LineCodes:
    """Load what all lines of a column have in common; `arguments` are those of `draw_column`."""
    kind = X86LineCodes if "avx2" in isa.features else LineCodes
    return kind(form, build, arguments)


class LineCodes:
    """The codes of lines, by what LLVM makes of plain arithmetic."""

    scale = 1.0  # of the sums

    def __init__(
        self, form: NoiseForm, build: ir.IRBuilder, arguments: Mapping[str, ir.Value]
    ) -> None:
        self.arguments, self.size = arguments, form.quad
        self.bytes_, self.words, self.ints, self.floats = (
            ir.VectorType(kind, self.size // width)
            for kind, width in ((I8, 1), (I16, 2), (I32, 4), (F32, 4))
        )
        sixteens = range(0, self.size, 16)
        self.eights = [[at + 8 * half + k for at in sixteens for k in range(8)] for half in _HALVES]
        self.parts = [
            [at + 8 * half + 4 * part + k for at in sixteens for k in range(4)]
            for half in _HALVES
            for part in _HALVES
        ]
        scale = ir.Constant(self.floats, [self.scale] * self.floats.count)
        divisors = self._of_channels(build, "divisor", F32)
        self.divisors = [build.fmul(shuffle(build, *divisors, part), scale) for part in self.parts]
        self._prepare(
            build, self._of_channels(build, "ratio", I32), self._of_channels(build, "zeros", I32)
        )

    def _of_channels(self, build: ir.IRBuilder, name: str, kind: ir.Type) -> _Halves:
        """Load the numbers of both halves of the channels."""
        first, half = self.arguments[name], ir.VectorType(kind, self.size // 2)
        second = build.add(first, times(build, self.arguments["second"], 4))
        return load(build, first, half), load(build, second, half)

    def emit(self, build: ir.IRBuilder, line: ir.Value, noise: ir.Value) -> None:
        """Emit the codes of a line, the second half first, which the first one may overwrite."""
        a = self.arguments
        start = build.mul(line, a["pitch"])
        places = [build.add(a[name], start) for name in ("sigma", "mu")]
        for place in places:
            prefetch(build, build.add(place, times(build, a["pitch"], _LINES_AHEAD)))
        sums = self._sums(build, noise, *(load(build, place, self.bytes_) for place in places))
        quotients = [
            self._quotient(build, build.sitofp(total, self.floats), number)
            for number, total in enumerate(sums)
        ]
        codes, to = self._codes(build, quotients), build.add(a["codes"], start)
        store(build, part(build, codes, 1), build.add(to, a["second"]))
        store(build, part(build, codes, 0), to)

    def _prepare(self, build: ir.IRBuilder, ratios: _Halves, zeros: _Halves) -> None:
        self.ratios = [shuffle(build, *ratios, order) for order in self.parts]
        self.zeros = [shuffle(build, *zeros, order) for order in self.parts]
        self.ends = [splat(build, self.arguments[name], self.ints.count) for name in _ENDS]

    def _sums(
        self, build: ir.IRBuilder, noise: ir.Value, sigma: ir.Value, mu: ir.Value
    ) -> list[ir.Value]:
        """Emit the sum of each part, int32, times `scale`."""
        wide = ir.VectorType(I16, self.size)
        product = build.mul(build.sext(noise, wide), build.sext(sigma, wide))
        sums = list[ir.Value]()
        for order, ratio in zip(self.parts, self.ratios, strict=True):
            addend, mean = (
                build.sext(shuffle(build, v, v, order), self.ints) for v in (product, mu)
            )
            sums.append(build.add(addend, build.mul(mean, ratio)))
        return sums

    def _quotient(self, build: ir.IRBuilder, total: ir.Value, number: int) -> ir.Value:
        """Emit the sums of a part divided by r."""
        return build.fdiv(total, self.divisors[number])

    def _codes(self, build: ir.IRBuilder, quotients: list[ir.Value]) -> ir.Value:
        """Emit the codes of the quotients of all parts, in their order."""
        rint = declare(build, f"llvm.rint.v{self.floats.count}f32", self.floats, [self.floats])
        quarter = ir.VectorType(I8, self.floats.count)
        codes = list[ir.Value]()
        for quotient, zero in zip(quotients, self.zeros, strict=True):
            code = build.fptosi(build.call(rint, [quotient]), self.ints)
            codes.append(build.trunc(_clip(build, build.add(code, zero), *self.ends), quarter))
        halves = concatenate(build, codes[:2]), concatenate(build, codes[2:])
        everywhere = [at for order in self.parts for at in order]
        return shuffle(build, *halves, sorted(range(self.size), key=everywhere.__getitem__))


class X86LineCodes(LineCodes):
    """The codes of lines by vpmulhw, vpmaddwd, vcvtps2dq, vpackssdw and vpacksswb.

    Bytes become words times 256, which is one instruction. The sum times 128 is that of two
    products of int16: 256mu * (R >> 1) + 128 * (eps*sigma + (R is odd ? mu : 0)).
    """

    scale = 128.0

    def _prepare(self, build: ir.IRBuilder, ratios: _Halves, zeros: _Halves) -> None:
        self.is_wide = self.size == 64
        one, units = splat_constant(I32, self.ints.count, 1), 128 << 16
        halves = [shuffle(build, *ratios, order) for order in self.eights]
        bits = ir.VectorType(ir.IntType(1), self.words.count)
        self.is_odd = [build.trunc(ratio, bits) for ratio in halves]
        self.ratios = [
            build.bitcast(
                build.or_(
                    build.lshr(shuffle(build, *ratios, order), one),
                    splat_constant(I32, self.ints.count, units),
                ),
                self.words,
            )
            for order in self.parts
        ]
        self.zeros = [
            build.trunc(shuffle(build, *zeros, order), self.words) for order in self.eights
        ]
        self.ends = [
            splat(build, build.trunc(self.arguments[name], I8), self.size) for name in _ENDS
        ]
        if self.is_wide:
            self.inverse = self._inverse(build, self.divisors[_MULTIPLIED])

    def _inverse(self, build: ir.IRBuilder, divisor: ir.Value) -> tuple[ir.Value, ir.Value]:
        """Emit 1 / divisor as a sum of two float32 numbers."""
        ones = ir.Constant(self.floats, [1.0] * self.floats.count)
        high = build.fdiv(ones, divisor)
        rest = self._multiply_add(build, build.fneg(divisor), high, ones)
        return high, build.fmul(rest, high)

    def _multiply_add(self, build: ir.IRBuilder, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
        kind = self.floats
        fma = declare(build, f"llvm.fma.v{kind.count}f32", kind, [kind] * 3)
        return build.call(fma, [a, b, c])

    def _quotient(self, build: ir.IRBuilder, total: ir.Value, number: int) -> ir.Value:
        """Emit the quotient of IEEE 754; one part of a wide line has it without a division.

        The first quotient is less than a unit of the last place away. So the remainder is exact,
        and the second quotient is correctly rounded. Source: Markstein, "Computation of elementary
        functions on the IBM RISC System/6000 processor", 1990.
        """
        if not (self.is_wide and number == _MULTIPLIED):
            return super()._quotient(build, total, number)
        divisor, (high, low) = self.divisors[number], self.inverse
        quotient = self._multiply_add(build, total, high, build.fmul(total, low))
        remainder = self._multiply_add(build, build.fneg(divisor), quotient, total)
        return self._multiply_add(build, remainder, high, quotient)

    def _sums(
        self, build: ir.IRBuilder, noise: ir.Value, sigma: ir.Value, mu: ir.Value
    ) -> list[ir.Value]:
        high = self._named(build, "pmulh.w", self.words, self.words)
        name, count = "pmaddw.d" if self.is_wide else "pmadd.wd", self.words.count
        multiply = self._named(build, name, self.ints, self.words)
        eight, nothing = splat_constant(I16, count, 8), splat_constant(I8, self.size, 0)
        sums = list[ir.Value]()
        for half, odd in zip(_HALVES, self.is_odd, strict=True):
            pairs = [n for byte in self.eights[half] for n in (byte, self.size + byte)]
            eps, deviation, mean = (
                build.bitcast(shuffle(build, nothing, v, pairs), self.words)
                for v in (noise, sigma, mu)
            )
            product = build.call(high, [eps, deviation])
            more = build.add(product, build.ashr(mean, eight))
            product = build.select(odd, more, product)
            for quarter, ratio in zip(_HALVES, self.ratios[2 * half : 2 * half + 2], strict=True):
                fours = [at + 4 * quarter + k for at in range(0, count, 8) for k in range(4)]
                both = [n for word in fours for n in (word, count + word)]
                sums.append(build.call(multiply, [shuffle(build, mean, product, both), ratio]))
        return sums

    def _codes(self, build: ir.IRBuilder, quotients: list[ir.Value]) -> ir.Value:
        """Emit the codes of quotients: sums and codes that are too large saturate, as clips do."""
        to_words = self._named(build, "packssdw", self.words, self.ints)
        to_bytes = self._named(build, "packsswb", self.bytes_, self.words)
        count = self.words.count
        add = declare(build, f"llvm.sadd.sat.v{count}i16", self.words, [self.words] * 2)
        whole = [self._rounded(build, quotient) for quotient in quotients]
        halves = [
            build.call(add, [build.call(to_words, whole[2 * half : 2 * half + 2]), zero])
            for half, zero in zip(_HALVES, self.zeros, strict=True)
        ]
        return _clip(build, build.call(to_bytes, halves), *self.ends)

    def _named(self, build: ir.IRBuilder, name: str, kind: ir.Type, source: ir.Type) -> ir.Function:
        whole = f"llvm.x86.avx512.{name}.512" if self.is_wide else f"llvm.x86.avx2.{name}"
        return declare(build, whole, kind, [source] * 2)

    def _rounded(self, build: ir.IRBuilder, real: ir.Value) -> ir.Value:
        if not self.is_wide:
            convert = declare(build, "llvm.x86.avx.cvt.ps2dq.256", self.ints, [real.type])
            return build.call(convert, [real])
        name, mask = "llvm.x86.avx512.mask.cvtps2dq.512", ir.IntType(self.ints.count)
        convert = declare(build, name, self.ints, [real.type, self.ints, mask, I32])
        whole = self.ints(ir.Undefined), mask(-1), I32(_CURRENT_MODE)
        return build.call(convert, [real, *whole])


def _clip(build: ir.IRBuilder, value: ir.Value, low: ir.Value, high: ir.Value) -> ir.Value:
    value = build.select(build.icmp_signed(">", value, low), value, low)
    return build.select(build.icmp_signed("<", value, high), value, high)
