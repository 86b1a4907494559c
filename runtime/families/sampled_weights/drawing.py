"""The sampled weights of a column of channels, as LLVM IR: noise and codes in one loop.

Turn i of the loop makes quad i of one column's noise, and line i of the codes of the column before
it. So the divisions of the codes take hardly any time of their own: noise is made meanwhile.

    turn i:   quad i of the noise of column n + 1   ->  noise
              line i of the codes of column n       <-  drawn, sigma, mu

Noise comes in the order of lanes, [channels][taps of the window]. Codes lie in that of Convolve,
[taps][channels]. The TABLE form puts each byte of noise where its code will be. The REGISTERS form
takes a line of codes from four quads.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from llvmlite import ir
from numba import types

from qbnnc.ir.rng import LANES_PER_WORD
from qbnnc.runtime.families.sampled_weights.line_codes import line_codes
from qbnnc.runtime.families.sampled_weights.noise import Noise, NoiseForm, Variables, define_quads
from qbnnc.runtime.isa import Isa
from qbnnc.runtime.kernels.jit import jitted
from qbnnc.runtime.kernels.vectors import (
    I8,
    I32,
    I64,
    constant_add,
    counted,
    declare,
    internal_function,
    load,
    splat,
    times,
)

_NAMES = (
    "noise key lane stride step quads table places drawn codes pitch second sigma mu ratio divisor "
    "zeros lines low high"
).split()
_KINDS = [I64] * 18 + [I32] * 2


def draw_column(isa: Isa, form: NoiseForm) -> Any:
    """Make the kernel of a column, for numba's jitted code.

    Arguments are numbers or addresses, in this order:

        noise       of the next column: int8 [quads][channels][4]
        key         the sample's
        lane        the first lane of the first channel
        stride      lanes from channel to channel
        step        words from quad to quad
        quads       0 makes no noise
        table       the form's table
        places      0 if line i takes quad i. Else, in the TABLE form, int32 [quads][4]: the byte of
                    the noise that a lane of the first channel goes to. In the REGISTERS form, int32
                    [lines][2][4]: where the quad of each code begins, in bytes, and the bits by
                    which it is turned to the left, to bring the lane to the code's place
        drawn       the noise of the column whose codes are made
        codes       int8 [lines][channels][4], with `pitch` bytes from line to line
        pitch
        second      where the second half of a line's channels begins; 0 if there is none
        sigma, mu   as codes
        ratio       int32 [channels][4]: R
        divisor     float32 [channels][4]: r
        zeros       int32 [channels][4]: Z
        lines       0 makes no codes
        low, high   int32
    """
    arguments: list[types.Type] = [types.int64] * 18 + [types.int32] * 2
    define = partial(define_column, isa=isa, form=form)
    return jitted(f"qbnnc_column_{isa.value}_{form.value}", arguments, define)


def draw_quads(form: NoiseForm) -> Any:
    """Make a kernel of noise alone: the first seven arguments of `draw_column`."""
    define = partial(define_quads, form=form)
    return jitted(f"qbnnc_quads_{form.value}", [types.int64] * 7, define)


def define_column(module: ir.Module, name: str, isa: Isa, form: NoiseForm) -> ir.Function:
    """Write the kernel as a function of the module."""
    function = internal_function(module, name, _KINDS, _NAMES)
    _Column(function, form).emit(isa)
    return function


class _Column:
    def __init__(self, function: ir.Function, form: NoiseForm) -> None:
        self.arguments = dict(zip(_NAMES, function.args, strict=True))
        self.form, self.build = form, ir.IRBuilder(function.append_basic_block("entry"))
        self.is_straight = self.build.icmp_signed("==", self.arguments["places"], I64(0))

    def emit(self, isa: Isa) -> None:
        """Write the loop. A turn leaves out the noise, or the codes, after the last ones."""
        build, a = self.build, self.arguments
        of_noise = (a[name] for name in "key lane stride step table".split())
        noise = Noise(build, self.form, *of_noise)
        variables = Variables(build, noise.state)
        codes = line_codes(isa, self.form, build, a)
        more_noise = build.icmp_signed(">", a["quads"], a["lines"])
        with counted(build, build.select(more_noise, a["quads"], a["lines"])) as turn:
            with build.if_then(build.icmp_signed("<", turn, a["quads"])):
                lanes, following = noise.draw(build, variables.load(build))
                variables.store(build, following)
                noise.store(build, lanes, self.places(turn))
            with build.if_then(build.icmp_signed("<", turn, a["lines"])):
                codes.emit(build, turn, self.noise_of_line(turn))
        build.ret_void()

    def places(self, turn: ir.Value) -> list[ir.Value]:
        """Emit the addresses that the four lanes of a quad go to."""
        build, a = self.build, self.arguments
        quad = build.add(a["noise"], times(build, turn, self.form.quad))
        straight = [constant_add(build, quad, j) for j in range(LANES_PER_WORD)]
        if self.form is NoiseForm.REGISTERS:
            return straight

        def of_codes() -> list[ir.Value]:
            row = build.add(a["places"], times(build, turn, 4 * LANES_PER_WORD))
            offsets = [load(build, row, I32, 4 * j) for j in range(LANES_PER_WORD)]
            return [build.add(a["noise"], build.sext(offset, I64)) for offset in offsets]

        return self.either(lambda: straight, of_codes)

    def noise_of_line(self, turn: ir.Value) -> ir.Value:
        """Emit the noise of a line of codes."""
        build, kind = self.build, ir.VectorType(I8, self.form.quad)

        def in_order() -> list[ir.Value]:
            at = build.add(self.arguments["drawn"], times(build, turn, self.form.quad))
            return [load(build, at, kind)]

        if self.form is NoiseForm.TABLE:
            return in_order()[0]
        return self.either(in_order, lambda: [self.gathered(turn, kind)])[0]

    def gathered(self, turn: ir.Value, kind: ir.Type) -> ir.Value:
        """Emit byte j of each channel from the j-th of four quads, which is turned."""
        build, a = self.build, self.arguments
        ints, bits = (
            ir.VectorType(I32, self.form.channels),
            ir.VectorType(ir.IntType(1), kind.count),
        )
        turned = declare(build, f"llvm.fshl.v{ints.count}i32", ints, [ints] * 3)
        row = build.add(a["places"], times(build, turn, 8 * LANES_PER_WORD))
        made = ir.Constant(kind, ir.Undefined)
        for j in range(LANES_PER_WORD):
            start = build.add(a["drawn"], build.sext(load(build, row, I32, 4 * j), I64))
            by = splat(build, load(build, row, I32, 4 * (LANES_PER_WORD + j)), ints.count)
            quad = load(build, start, ints)
            quad = build.bitcast(build.call(turned, [quad, quad, by]), kind)
            here = ir.Constant(bits, [int(i % LANES_PER_WORD == j) for i in range(kind.count)])
            made = build.select(here, quad, made)
        return made

    def either(
        self, straight: Callable[[], list[ir.Value]], placed: Callable[[], list[ir.Value]]
    ) -> list[ir.Value]:
        """Emit a branch on whether there are places, and the values of the branch that ran."""
        build, ways = self.build, list[tuple[list[ir.Value], ir.Block]]()
        with build.if_else(self.is_straight) as (then, otherwise):
            for branch, emit in ((then, straight), (otherwise, placed)):
                with branch:
                    ways.append((emit(), build.block))
        merged = list[ir.Value]()
        for values in zip(*(made for made, _ in ways), strict=True):
            phi = build.phi(values[0].type)
            for value, (_, block) in zip(values, ways, strict=True):
                phi.add_incoming(value, block)
            merged.append(phi)
        return merged
