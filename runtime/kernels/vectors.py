"""Writing LLVM IR by hand: helpers for kernels that use vector registers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from llvmlite import ir

from qbnnc.runtime.isa import Isa

I8, I16, I32, I64, F32 = (*(ir.IntType(n) for n in (8, 16, 32, 64)), ir.FloatType())
_CURRENT_MODE = 4  # of rounding: half to even, unless the process has set another one


def rounded(
    build: ir.IRBuilder, real: ir.Value, low: ir.Value, high: ir.Value, isa: Isa
) -> ir.Value:
    """Emit rint(clip(real, low, high)) as int32, half to even; NaN gives `low`."""
    real = build.select(build.fcmp_ordered(">", real, low), real, low)
    real = build.select(build.fcmp_ordered("<", real, high), real, high)
    floats, ints, count = real.type, ir.VectorType(I32, real.type.count), real.type.count
    if count == 8 and "avx2" in isa.features:
        convert = declare(build, "llvm.x86.avx.cvt.ps2dq.256", ints, [floats])
        return build.call(convert, [real])
    if count == 16:
        mask, mode = ir.IntType(count), I32(_CURRENT_MODE)
        name, kinds = "llvm.x86.avx512.mask.cvtps2dq.512", [floats, ints, mask, I32]
        return build.call(
            declare(build, name, ints, kinds), [real, ints(ir.Undefined), mask(-1), mode]
        )
    rint = declare(build, f"llvm.rint.v{count}f32", floats, [floats])
    return build.fptosi(build.call(rint, [real]), ints)


def declare(
    build: ir.IRBuilder, name: str, result: ir.Type, arguments: Sequence[ir.Type]
) -> ir.Function:
    """Declare an intrinsic of LLVM."""
    kind = ir.FunctionType(result, arguments)
    return build.module.globals.get(name) or ir.Function(build.module, kind, name)


def load(build: ir.IRBuilder, address: ir.Value, kind: ir.Type, offset: int = 0) -> ir.Value:
    """Load from any address."""
    pointer = build.inttoptr(constant_add(build, address, offset), kind.as_pointer())
    value = build.load(pointer)
    value.align = 1
    return value


def prefetch(build: ir.IRBuilder, address: ir.Value) -> None:
    """Ask for the cache line of any address, which need not exist."""
    pointer, read, keep, data = I8.as_pointer(), I32(0), I32(3), I32(1)
    ask = declare(build, "llvm.prefetch.p0i8", ir.VoidType(), [pointer, I32, I32, I32])
    build.call(ask, [build.inttoptr(address, pointer), read, keep, data])


def store(build: ir.IRBuilder, value: ir.Value, address: ir.Value, offset: int = 0) -> None:
    """Store to any address."""
    pointer = build.inttoptr(constant_add(build, address, offset), value.type.as_pointer())
    build.store(value, pointer).align = 1


def constant_add(build: ir.IRBuilder, value: ir.Value, number: int) -> ir.Value:
    return build.add(value, I64(number)) if number else value


def times(build: ir.IRBuilder, value: ir.Value, number: int) -> ir.Value:
    return build.mul(value, I64(number))


def splat_constant(kind: ir.Type, count: int, number: int) -> ir.Constant:
    return ir.Constant(ir.VectorType(kind, count), [number] * count)


def splat(build: ir.IRBuilder, value: ir.Value, count: int) -> ir.Value:
    """Put a value in every lane."""
    vector = ir.Constant(ir.VectorType(value.type, count), ir.Undefined)
    first = build.insert_element(vector, value, I32(0))
    return shuffle(build, first, vector, [0] * count)


def shuffle(build: ir.IRBuilder, a: ir.Value, b: ir.Value, lanes: Sequence[int]) -> ir.Value:
    return build.shuffle_vector(a, b, ir.Constant(ir.VectorType(I32, len(lanes)), list(lanes)))


def part(build: ir.IRBuilder, value: ir.Value, half: int) -> ir.Value:
    """Take the lower or the upper half of the lanes."""
    count = value.type.count // 2
    return shuffle(build, value, value, range(half * count, (half + 1) * count))


def concatenate(build: ir.IRBuilder, values: list[ir.Value]) -> ir.Value:
    """Join one or two vectors."""
    if len(values) == 1:
        return values[0]
    first, second = values
    return shuffle(build, first, second, range(2 * first.type.count))


@contextmanager
def counted(build: ir.IRBuilder, count: ir.Value) -> Iterator[ir.Value]:
    """Write a loop of `count` turns around the body; yield the number of the turn."""
    before, loop, after = build.block, *(build.append_basic_block(b) for b in ("loop", "after"))
    build.cbranch(build.icmp_signed("<", I64(0), count), loop, after)
    build.position_at_end(loop)
    index = build.phi(I64)
    index.add_incoming(I64(0), before)
    yield index
    following = constant_add(build, index, 1)
    index.add_incoming(following, build.block)
    build.cbranch(build.icmp_signed("<", following, count), loop, after)
    build.position_at_end(after)


def internal_function(
    module: ir.Module, name: str, arguments: Sequence[ir.Type], names: Sequence[str]
) -> ir.Function:
    """Make a function that only this module sees, that is not inlined and returns nothing."""
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), arguments), name)
    function.linkage = "internal"
    for attribute in ("noinline", "nounwind"):
        function.attributes.add(attribute)
    for argument, its_name in zip(function.args, names, strict=True):
        argument.name = its_name
    return function


def enable(function: ir.Function, features: Sequence[str]) -> None:
    """Enable features in a function, even if LLVM does not know that the CPU has them."""
    names = ",".join(f"+{name}" for name in features)
    set.add(function.attributes, f'"target-features"="{names}"')  # llvmlite's add knows no values
