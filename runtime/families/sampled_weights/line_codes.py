"""The codes of a line, as LLVM IR: four weights of each channel of a column.

    code = clip(rint(f32(eps*sigma + R*mu) / r) + Z, low, high)

The sum is exact: |eps * sigma| <= 2^14, |mu| <= 2^7 and 0 < R < 2^16. It is a sum of two products
of int16: 2mu * (R >> 1) + 1 * (eps*sigma + (R is odd ? mu : 0)). The quotient fits int32, because r
is 1 or more.

A line is two halves of 4, or 8, channels: the second half is the first one again where a column has
half its channels. Each half is int16 [channels][4]. Its two parts are what x86 interleaves and
packs: the lower and the upper half of each 16 bytes.

Source: docs/semantics.md, section 6.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from llvmlite import ir

from qbnnc.runtime.families.sampled_weights.noise import NoiseForm
from qbnnc.runtime.isa import Isa
from qbnnc.runtime.kernels.vectors import (
    F32,
    I8,
    I16,
    I32,
    declare,
    load,
    shuffle,
    splat,
    splat_constant,
    store,
    times,
)

_HALVES = (0, 1)
_CURRENT_MODE = 4  # of rounding: half to even, unless the process has set another one
Parts = Sequence[ir.Value]  # the lower and the upper part of a half


def line_codes(
    isa: Isa, form: NoiseForm, build: ir.IRBuilder, arguments: Mapping[str, ir.Value]
) -> LineCodes:
    """Load what all lines of a column have in common; `arguments` are those of `draw_column`."""
    kind = X86LineCodes if "avx2" in isa.features else LineCodes
    return kind(form, build, arguments)


class LineCodes:
    """The codes of lines, by what LLVM makes of plain arithmetic."""

    def __init__(
        self, form: NoiseForm, build: ir.IRBuilder, arguments: Mapping[str, ir.Value]
    ) -> None:
        self.arguments, self.half = arguments, form.quad // 2
        self.bytes_, self.words = (ir.VectorType(kind, self.half) for kind in (I8, I16))
        self.ints = ir.VectorType(I32, self.half // 2)
        eights = range(0, self.half, 8)
        self.order = [[at + 4 * part + k for at in eights for k in range(4)] for part in (0, 1)]
        ratios = self._of_channels(build, "ratio", I32)
        self.is_odd = [
            build.trunc(build.and_(r, splat_constant(I32, self.half, 1)), self._bits())
            for r in ratios
        ]
        one = splat_constant(I32, self.half, 1)
        self.ratios = [self._parts(build, build.lshr(r, one)) for r in ratios]
        self.divisors = [self._parts(build, r) for r in self._of_channels(build, "divisor", F32)]
        self._prepare(build, self._of_channels(build, "zeros", I32))

    def _bits(self) -> ir.Type:
        return ir.VectorType(ir.IntType(1), self.half)

    def _of_channels(self, build: ir.IRBuilder, name: str, kind: ir.Type) -> list[ir.Value]:
        """Load the numbers of both halves."""
        first = self.arguments[name]
        second = build.add(first, times(build, self.arguments["second"], 4))
        return [load(build, at, ir.VectorType(kind, self.half)) for at in (first, second)]

    def _parts(self, build: ir.IRBuilder, value: ir.Value) -> Parts:
        return [shuffle(build, value, value, order) for order in self.order]

    def emit(self, build: ir.IRBuilder, line: ir.Value, noise: ir.Value) -> None:
        """Emit the codes of a line, the second half first, which the first one may overwrite."""
        a = self.arguments
        first = build.mul(line, a["pitch"])
        starts = [first, build.add(first, a["second"])]
        real = list[list[ir.Value]]()
        for half, start in zip(_HALVES, starts, strict=True):
            spread, mean = (
                build.sext(load(build, build.add(a[name], start), self.bytes_), self.words)
                for name in ("sigma", "mu")
            )
            places = range(half * self.half, (half + 1) * self.half)
            eps = build.sext(shuffle(build, noise, noise, places), self.words)
            product = build.mul(eps, spread)
            product = build.select(self.is_odd[half], build.add(product, mean), product)
            sums = self._sums(build, product, build.add(mean, mean), half)
            real.append([
                build.fdiv(build.sitofp(total, divisor.type), divisor)
                for total, divisor in zip(sums, self.divisors[half], strict=True)
            ])  # fmt: skip
        codes = self._codes(build, real)
        for half in reversed(_HALVES):
            store(build, codes[half], build.add(a["codes"], starts[half]))

    def _prepare(self, build: ir.IRBuilder, zeros: list[ir.Value]) -> None:
        self.zeros = [self._parts(build, z) for z in zeros]
        self.ends = [splat(build, self.arguments[name], self.half // 2) for name in ("low", "high")]

    def _sums(
        self, build: ir.IRBuilder, product: ir.Value, double: ir.Value, half: int
    ) -> list[ir.Value]:
        """Emit double * (R >> 1) + product, the parts of a half."""
        addends, doubles = self._parts(build, product), self._parts(build, double)
        return [
            build.add(build.sext(p, self.ints), build.mul(build.sext(m, self.ints), ratio))
            for p, m, ratio in zip(addends, doubles, self.ratios[half], strict=True)
        ]

    def _codes(self, build: ir.IRBuilder, real: list[list[ir.Value]]) -> list[ir.Value]:
        """Emit the codes of quotients."""
        low, high = self.ends
        together = sorted(range(self.half), key=[*self.order[0], *self.order[1]].__getitem__)
        codes = list[ir.Value]()
        for parts, zeros in zip(real, self.zeros, strict=True):
            clipped = list[ir.Value]()
            for quotient, zero in zip(parts, zeros, strict=True):
                rint = declare(
                    build, f"llvm.rint.v{self.half // 2}f32", quotient.type, [quotient.type]
                )
                code = build.fptosi(build.call(rint, [quotient]), self.ints)
                clipped.append(_clip(build, build.add(code, zero), low, high))
            whole = shuffle(build, clipped[0], clipped[1], together)
            codes.append(build.trunc(whole, self.bytes_))
        return codes


class X86LineCodes(LineCodes):
    """The codes of lines by vpmaddwd, vcvtps2dq, vpackssdw and vpacksswb."""

    def _prepare(self, build: ir.IRBuilder, zeros: list[ir.Value]) -> None:
        ones = splat_constant(I32, self.half // 2, 1 << 16)
        self.ratios = [
            [build.bitcast(build.or_(ratio, ones), self.words) for ratio in parts]
            for parts in self.ratios
        ]
        self.zeros = [build.trunc(z, self.words) for z in zeros]
        self.ends = [
            splat(build, build.trunc(self.arguments[name], I8), 2 * self.half)
            for name in ("low", "high")
        ]
        self.is_wide = self.half == 32

    def _sums(
        self, build: ir.IRBuilder, product: ir.Value, double: ir.Value, half: int
    ) -> list[ir.Value]:
        name = "llvm.x86.avx512.pmaddw.d.512" if self.is_wide else "llvm.x86.avx2.pmadd.wd"
        multiply = declare(build, name, self.ints, [self.words] * 2)
        sums = list[ir.Value]()
        for order, ratio in zip(self.order, self.ratios[half], strict=True):
            pairs = [n for word in order for n in (word, self.half + word)]
            sums.append(build.call(multiply, [shuffle(build, double, product, pairs), ratio]))
        return sums

    def _codes(self, build: ir.IRBuilder, real: list[list[ir.Value]]) -> list[ir.Value]:
        """Emit the codes of quotients: sums and codes that are too large saturate, as clips do."""
        line = ir.VectorType(I8, 2 * self.half)
        to_words = self._pack(build, "packssdw", self.words, self.ints)
        to_bytes = self._pack(build, "packsswb", line, self.words)
        add = declare(build, f"llvm.sadd.sat.v{self.half}i16", self.words, [self.words] * 2)
        halves = list[ir.Value]()
        for parts, zero in zip(real, self.zeros, strict=True):
            whole = build.call(to_words, [self._rounded(build, quotient) for quotient in parts])
            halves.append(build.call(add, [whole, zero]))
        codes = _clip(build, build.call(to_bytes, halves), *self.ends)
        sixteens = range(0, 2 * self.half, 16)
        return [
            shuffle(build, codes, codes, [at + 8 * half + k for at in sixteens for k in range(8)])
            for half in _HALVES
        ]

    def _pack(self, build: ir.IRBuilder, name: str, kind: ir.Type, source: ir.Type) -> ir.Function:
        whole = f"llvm.x86.avx512.{name}.512" if self.is_wide else f"llvm.x86.avx2.{name}"
        return declare(build, whole, kind, [source] * 2)

    def _rounded(self, build: ir.IRBuilder, real: ir.Value) -> ir.Value:
        if not self.is_wide:
            convert = declare(build, "llvm.x86.avx.cvt.ps2dq.256", self.ints, [real.type])
            return build.call(convert, [real])
        name, mask = "llvm.x86.avx512.mask.cvtps2dq.512", ir.IntType(self.half // 2)
        convert = declare(build, name, self.ints, [real.type, self.ints, mask, I32])
        whole = self.ints(ir.Undefined), mask(-1), I32(_CURRENT_MODE)
        return build.call(convert, [real, *whole])


def _clip(build: ir.IRBuilder, value: ir.Value, low: ir.Value, high: ir.Value) -> ir.Value:
    value = build.select(build.icmp_signed(">", value, low), value, low)
    return build.select(build.icmp_signed("<", value, high), value, high)
