"""The sampled weights of a column of channels, as LLVM IR: noise and codes in one loop.

    code = clip(rint(f32(eps*sigma + R*mu) / r) + Z, low, high)

Turn i of the loop makes quad i of one column's noise, and line i of the codes of the column before
it. So the divisions of the codes take no time of their own: the noise is made meanwhile. A line has
four codes of each channel, as Convolve reads them.

The sum is exact: |eps*sigma| <= 2^14, |mu| <= 2^7 and 0 < R < 2^16. It is made in pairs of int16,
2mu * (R >> 1) + (eps*sigma + (R is odd ? mu : 0)). r is at least 1, so that the quotient fits int32.

Source: docs/semantics.md, section 6.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from llvmlite import ir
from numba import types

from qbnnc.runtime.families.sampled_weights.noise import (
    Noise,
    NoiseForm,
)
from qbnnc.runtime.isa import Isa
from qbnnc.runtime.kernels.vectors import (
    F32,
    I8,
    I16,
    I32,
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

LANE = 16  # bytes inside which x86 interleaves and packs
NAMES = (
    "noise key lane stride step quads table places drawn codes pitch second sigma mu ratio divisor "
    "zeros lines low high"
).split()


def draw_column(isa: Isa, form: NoiseForm) -> Any:
    """Make the kernel of a column, for numba's jitted code.

    Arguments are numbers or addresses, all int64 but the last two, in this order:

        noise       of the next column: int8 [quads][channels][4]
        key         of the sample
        lane        the first lane of the first channel
        stride      lanes from channel to channel
        step        words from quad to quad
        quads       0 makes no noise
        table       the form's constants
        places      int32; 0 if line i of the codes takes quad i of the noise. Otherwise, in the
                    TABLE form, [quads][4]: where in the noise a lane goes, in bytes. In the
                    REGISTERS form, [lines][4, 4]: the quad of each code, in bytes, and how many
                    bits it is turned to the left, so that the code's byte comes to its place
        drawn       noise of the column whose codes are made
        codes       int8 [lines][channels][4], with `pitch` bytes from line to line
        pitch
        second      0 if the second half of the channels does not exist, else half a line's bytes
        sigma, mu   int8, as the codes
        ratio       int32 [channels][4]: R
        divisor     float32 [channels][4]: r
        zeros       int32 [channels][4]: Z
        lines       0 makes no codes
        low, high   int32
    """
    arguments: list[types.Type] = [types.int64] * (len(NAMES) - 2) + [types.int32] * 2
    define = partial(define_column, isa=isa, form=form)
    return jitted(f"qbnnc_draw_{isa.value}_{form.value}", arguments, define)


def define_column(module: ir.Module, name: str, isa: Isa, form: NoiseForm) -> ir.Function:
    """Write the kernel as a function of the module."""
    kinds = [I64] * (len(NAMES) - 2) + [I32] * 2
    function = internal_function(module, name, kinds, NAMES)
    _Column(function, isa, form).emit()
    return function


class _Column:
    def __init__(self, function: ir.Function, isa: Isa, form: NoiseForm) -> None:
        self.a = dict(zip(NAMES, function.args, strict=True))
        self.form, self.size = form, form.quad
        self.steps = _X86 if "avx2" in isa.features else _Any
        self.build = ir.IRBuilder(function.append_basic_block("entry"))

    def emit(self) -> None:
        """Write the loop; a turn skips the noise or the codes if they have come to their end."""
        build, a = self.build, self.a
        noise = Noise(build, self.form, *(a[n] for n in ("key", "lane", "stride", "step", "table")))
        codes = self.steps(build, self.form, a)
        is_straight = build.icmp_signed("==", a["places"], I64(0))
        kept = [build.alloca(value.type) for value in noise.state()]
        for value, pointer in zip(noise.state(), kept, strict=True):
            build.store(value, pointer)
        more = build.icmp_signed(">", a["quads"], a["lines"])
        with counted(build, build.select(more, a["quads"], a["lines"])) as turn:
            with build.if_then(build.icmp_signed("<", turn, a["quads"])):
                lanes, following = noise.draw(build, [build.load(pointer) for pointer in kept])
                for value, pointer in zip(following, kept, strict=True):
                    build.store(value, pointer)
                noise.store(build, lanes, self.places(turn, is_straight))
            with build.if_then(build.icmp_signed("<", turn, a["lines"])):
                codes.emit(turn, self.noise_of_line(turn, is_straight))
        build.ret_void()

    def places(self, turn: ir.Value, is_straight: ir.Value) -> list[ir.Value]:
        """Emit the addresses that a quad goes to; in the REGISTERS form it lies together."""
        build, a = self.build, self.a
        quad = build.add(a["noise"], times(build, turn, self.size))
        straight = [constant_add(build, quad, j) for j in range(K_BLOCK)]
        if self.form is NoiseForm.REGISTERS:
            return straight

        def placed() -> list[ir.Value]:
            row = build.add(a["places"], times(build, turn, 4 * K_BLOCK))
            offsets = [load(build, row, I32, 4 * j) for j in range(K_BLOCK)]
            return [build.add(a["noise"], build.sext(o, I64)) for o in offsets]

        return self.either(is_straight, lambda: straight, placed)

    def noise_of_line(self, turn: ir.Value, is_straight: ir.Value) -> ir.Value:
        build, a, kind = self.build, self.a, ir.VectorType(I8, self.size)
        def straight() -> list[ir.Value]:
            return [load(build, build.add(a["drawn"], times(build, turn, self.size)), kind)]

        if self.form is NoiseForm.TABLE:
            return straight()[0]

        def gathered() -> list[ir.Value]:
            count = self.form.channels
            ints = ir.VectorType(I32, count)
            turned = declare(build, f"llvm.fshl.v{count}i32", ints, [ints] * 3)
            row = build.add(a["places"], times(build, turn, 8 * K_BLOCK))
            made = None
            for j in range(K_BLOCK):
                place = build.sext(load(build, row, I32, 4 * j), I64)
                bits = splat(build, load(build, row, I32, 4 * (K_BLOCK + j)), count)
                quad = load(build, build.add(a["drawn"], place), ints)
                quad = build.bitcast(build.call(turned, [quad, quad, bits]), kind)
                here = ir.Constant(ir.VectorType(ir.IntType(1), self.size), [i % 4 == j for i in range(self.size)])
                made = quad if made is None else build.select(here, quad, made)
            return [made]

        return self.either(is_straight, straight, gathered)[0]

    def either(self, condition: ir.Value, first: Any, second: Any) -> list[ir.Value]:
        """Emit one of two branches; return what they have in common."""
        build, made = self.build, []
        with build.if_else(condition) as (then, otherwise):
            for branch, emit in ((then, first), (otherwise, second)):
                with branch:
                    values = emit()
                    made.append((values, build.block))
        phis = []
        for number in range(len(made[0][0])):
            phis.append(build.phi(made[0][0][number].type))
            for values, block in made:
                phis[-1].add_incoming(values[number], block)
        return phis


class _Any:
    """The codes of a line, by what LLVM makes of plain arithmetic."""

    def __init__(self, build: ir.IRBuilder, form: NoiseForm, a: dict[str, ir.Value]) -> None:
        self.build, self.a, self.form, self.half = build, a, form, form.quad // 2
        lanes = range(0, self.half, LANE // 2)
        self.low_words = [at + k for at in lanes for k in range(4)]
        self.high_words = [at + 4 + k for at in lanes for k in range(4)]
        self.ints = ir.VectorType(I32, self.half // 2)
        self.words = ir.VectorType(I16, self.half)
        ratios, divisors, zeros = (
            [self.of_channels(name, kind, half) for half in (0, 1)]
            for name, kind in (("ratio", I32), ("divisor", F32), ("zeros", I32))
        )
        self.is_odd = []
        for ratio in ratios:
            bit = build.and_(build.trunc(ratio, self.words), splat_constant(I16, self.half, 1))
            self.is_odd.append(build.sub(ir.Constant(self.words, None), bit))
        self.ratios = [self.parts(build.lshr(r, splat_constant(I32, self.half, 1))) for r in ratios]
        self.divisors = [self.parts(d) for d in divisors]
        self.prepare(zeros)

    def of_channels(self, name: str, kind: ir.Type, half: int) -> ir.Value:
        """Load the numbers of half a line."""
        build = self.build
        address = self.a[name]
        if half:
            address = build.add(address, times(build, self.a["second"], 4))
        return load(build, address, ir.VectorType(kind, self.half))

    def parts(self, value: ir.Value) -> list[ir.Value]:
        """Take the elements of the lower half of each 16 bytes of int16, and of the upper half."""
        return [shuffle(self.build, value, value, part) for part in (self.low_words, self.high_words)]

    def prepare(self, zeros: list[ir.Value]) -> None:
        build = self.build
        self.zeros = [self.parts(z) for z in zeros]
        self.ends = [splat(build, self.a[name], self.half // 2) for name in ("low", "high")]

    def emit(self, turn: ir.Value, noise: ir.Value) -> None:
        build, a = self.build, self.a
        line = build.mul(turn, a["pitch"])
        at = [line, build.add(line, a["second"])]
        sums = []
        for half in (0, 1):
            spread, mean = (
                build.sext(load(build, build.add(a[name], at[half]), ir.VectorType(I8, self.half)), self.words)
                for name in ("sigma", "mu")
            )
            of_half = shuffle(build, noise, noise, range(half * self.half, (half + 1) * self.half))
            product = build.mul(build.sext(of_half, self.words), spread)
            product = build.add(product, build.and_(mean, self.is_odd[half]))
            sums.append(self.sums(product, build.add(mean, mean), half))
        made = [
            [
                self.rounded(build.fdiv(build.sitofp(total, divisor.type), divisor))
                for total, divisor in zip(of_half, self.divisors[half], strict=True)
            ]
            for half, of_half in enumerate(sums)
        ]
        codes = self.narrowed(made)
        for half in (1, 0):
            store(build, codes[half], build.add(a["codes"], at[half]))

    def sums(self, product: ir.Value, mean: ir.Value, half: int) -> list[ir.Value]:
        build = self.build
        return [
            build.add(build.sext(p, self.ints), build.mul(build.sext(m, self.ints), ratio))
            for p, m, ratio in zip(self.parts(product), self.parts(mean), self.ratios[half], strict=True)
        ]

    def rounded(self, real: ir.Value) -> ir.Value:
        rint = declare(self.build, f"llvm.rint.v{self.half // 2}f32", real.type, [real.type])
        return self.build.fptosi(self.build.call(rint, [real]), self.ints)

    def narrowed(self, made: list[list[ir.Value]]) -> list[ir.Value]:
        build, low, high = self.build, *self.ends
        order = [0] * self.half
        for place, word in enumerate([*self.low_words, *self.high_words]):
            order[word] = place
        halves = []
        for values, zeros in zip(made, self.zeros, strict=True):
            clipped = []
            for value, zero in zip(values, zeros, strict=True):
                value = build.add(value, zero)
                value = build.select(build.icmp_signed(">", value, low), value, low)
                clipped.append(build.select(build.icmp_signed("<", value, high), value, high))
            whole = shuffle(build, clipped[0], clipped[1], order)
            halves.append(build.trunc(whole, ir.VectorType(I8, self.half)))
        return halves


class _X86(_Any):
    """The codes of a line by vpmaddwd, vcvtps2dq, vpackssdw and vpacksswb."""

    def prepare(self, zeros: list[ir.Value]) -> None:
        build = self.build
        ones = splat_constant(I32, self.half // 2, 1 << 16)
        pairs = ir.VectorType(I16, self.half)
        self.ratios = [[build.bitcast(build.or_(r, ones), pairs) for r in of_half] for of_half in self.ratios]
        self.zeros = [build.trunc(z, self.words) for z in zeros]
        self.ends = [splat(build, build.trunc(self.a[name], I8), 2 * self.half) for name in ("low", "high")]
        self.set, self.bits = ("avx512", 512) if self.half == 32 else ("avx2", 256)

    def sums(self, product: ir.Value, mean: ir.Value, half: int) -> list[ir.Value]:
        build = self.build
        name = "llvm.x86.avx512.pmaddw.d.512" if self.bits == 512 else "llvm.x86.avx2.pmadd.wd"
        multiply = declare(build, name, self.ints, [self.words] * 2)
        made = []
        for part, ratio in zip((self.low_words, self.high_words), self.ratios[half], strict=True):
            lanes = [n for word in part for n in (word, self.half + word)]
            made.append(build.call(multiply, [shuffle(build, mean, product, lanes), ratio]))
        return made

    def rounded(self, real: ir.Value) -> ir.Value:
        build = self.build
        if self.bits == 256:
            convert = declare(build, "llvm.x86.avx.cvt.ps2dq.256", self.ints, [real.type])
            return build.call(convert, [real])
        name, bits = "llvm.x86.avx512.mask.cvtps2dq.512", ir.IntType(16)
        convert = declare(build, name, self.ints, [real.type, self.ints, bits, I32])
        return build.call(convert, [real, ir.Constant(self.ints, None), bits(-1), I32(_CURRENT)])

    def narrowed(self, made: list[list[ir.Value]]) -> list[ir.Value]:
        build, line = self.build, ir.VectorType(I8, 2 * self.half)
        ending = f".{self.bits}" if self.bits == 512 else ""
        packs = [
            declare(build, f"llvm.x86.{self.set}.{name}{ending}", kind, [source] * 2)
            for name, kind, source in (("packssdw", self.words, self.ints), ("packsswb", line, self.words))
        ]
        add = declare(build, f"llvm.sadd.sat.v{self.half}i16", self.words, [self.words] * 2)
        words = [
            build.call(add, [build.call(packs[0], values), zero])
            for values, zero in zip(made, self.zeros, strict=True)
        ]
        whole = build.call(packs[1], words)
        low, high = self.ends
        whole = build.select(build.icmp_signed(">", whole, low), whole, low)
        whole = build.select(build.icmp_signed("<", whole, high), whole, high)
        parts = [
            [at + 8 * half + k for at in range(0, 2 * self.half, LANE) for k in range(8)]
            for half in (0, 1)
        ]
        return [shuffle(build, whole, whole, part) for part in parts]


_CURRENT = 4  # the rounding mode that is set: half to even
