"""The product of all panels of a layer in one call, as LLVM IR.

for each panel of output channels, the last one first:
    the microkernel of the panel's width, for all positions
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from llvmlite import ir
from numba import types

from qbnnc.runtime.families.contraction.kernels.microkernel import (
    ARGUMENTS,
    KINDS,
    NAMES,
    Shape,
    define_panel,
)
from qbnnc.runtime.isa import Isa
from qbnnc.runtime.kernels.jit import jitted
from qbnnc.runtime.kernels.vectors import (
    I64,
    constant_add,
    counted,
    internal_function,
    times,
)


def product_kernel(isa: Isa, shapes: Sequence[Shape]) -> Any:
    """Make the kernel of all panels of a group, the last one first.

    `shapes` have the widths of `isa.panels`. The arguments are those of `panel_kernel`, for the
    whole group, and at the end its output channels with padding.
    """
    name = f"qbnnc_product_{isa.name}_{shapes[0]}"
    define = partial(define_product, isa=isa, shapes=shapes)
    return jitted(name, [*ARGUMENTS, types.int64], define)


def define_product(module: ir.Module, name: str, isa: Isa, shapes: Sequence[Shape]) -> ir.Function:
    """Write the kernel of all panels as a function of the module."""
    functions = [define_panel(module, f"{name}_{s.channels}", isa, s) for s in shapes]
    function = internal_function(module, name, [*KINDS, I64], [*NAMES.split(), "channels"])
    (
        arena, x, segments, count, k_blocks, weights, bias, factor, out, channel, zero, low, high,
        positions, channels,
    ) = function.args  # fmt: skip
    build, most = ir.IRBuilder(function.append_basic_block("entry")), shapes[0].channels
    depth = times(build, build.mul(count, k_blocks), 4)
    number = build.udiv(constant_add(build, channels, most - 1), I64(most))
    with counted(build, number) as turn:
        first = times(build, build.sub(constant_add(build, number, -1), turn), most)
        left = build.sub(channels, first)
        parameters = (build.add(a, times(build, first, 4)) for a in (bias, factor))
        arguments = [
            arena, x, segments, count, k_blocks,
            build.add(weights, build.mul(first, depth)), *parameters, out,
            build.add(channel, times(build, first, 4 if shapes[0].sums else 1)),
            zero, low, high, positions,
        ]  # fmt: skip
        after = build.append_basic_block("after")
        for shape, its in zip(shapes, functions, strict=True):
            fits, narrower = (
                build.append_basic_block(f"{t}{shape.channels}") for t in ("is", "no")
            )
            build.cbranch(build.icmp_signed(">=", left, I64(shape.channels)), fits, narrower)
            build.position_at_end(fits)
            build.call(its, arguments)
            build.branch(after)
            build.position_at_end(narrower)
        build.branch(after)
        build.position_at_end(after)
    build.ret_void()
    return function
