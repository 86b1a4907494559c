"""Kernels that are compiled by themselves and called by their address."""

from __future__ import annotations

from collections.abc import Callable
from ctypes import CFUNCTYPE, c_int64
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from numba import types

from qbnnc.ir.types import Array
from qbnnc.runtime.compilation import compiled, object_code
from qbnnc.runtime.kernels.addressing import numbers
from qbnnc.runtime.kernels.entries import SIGNATURE, call
from qbnnc.runtime.kernels.jit import kernel
from qbnnc.runtime.linking import SYMBOL, Linked, PythonFunction, link, python_function


def _through(address: int, row: int, context: int, memory: int) -> int:
    """Call an entry as the interpreter does."""
    call(address, row, context, memory)
    return 5


def sums(row_at: int, context_at: int, memory_at: int) -> int:
    numbers(memory_at)[0] += numbers(row_at)[0] * numbers(context_at)[1]
    return 0


def linked(function: Callable[..., int], signature: Any = SIGNATURE, more: str = "") -> Linked:
    return link(object_code(compiled(function, signature, more)))


def arrays() -> tuple[Array, Array, Array]:
    return np.array([3, 0]), np.array([0, 5]), np.array([100])


def test_an_entry_gets_the_addresses_of_arrays() -> None:
    entry, (row, context, memory) = linked(sums), arrays()
    signature = types.int64(*[types.int64] * 4)
    through = PythonFunction(linked(_through, signature, python_function((None, 0, 0, 0))))
    for _ in range(2):
        assert through.function(entry.address, row, context, memory) == 5
    assert memory[0] == 100 + 2 * 3 * 5


def test_python_gives_integers_addresses_and_sizes() -> None:
    def told(out: int, count: int, rows: int, columns: int, number: int) -> int:
        found = numbers(out)
        found[0], found[1], found[2] = count, rows, columns
        return number - 1

    def flat(out: int, count: int, _: int, rows: int, columns: int, number: int) -> int:
        return told_kernel(out, count, rows, columns, number)

    told_kernel: Callable[..., int] = kernel(told)
    signature = types.int64(*[types.int64] * 6)
    python = PythonFunction(linked(flat, signature, python_function((1, 2, None))))
    out, number = np.zeros(3, np.int64), -(2**63) + 1
    assert python.function(out, np.zeros((4, 7), np.float32), number) == number - 1
    assert out.tolist() == [3, 4, 7]


def returning(number: int) -> bytes:
    """Make object code of a kernel that calls a helper of a common name."""
    module = llvm.parse_assembly(
        f"define linkonce_odr i64 @helper() noinline {{ ret i64 {number} }}\n"
        f"define i64 @{SYMBOL}() {{ %value = call i64 @helper()\n ret i64 %value }}"
    )
    target = llvm.Target.from_triple(llvm.get_process_triple())
    machine = target.create_target_machine(reloc="pic", jit=True)
    return bytes(machine.emit_object(module))


def test_objects_of_one_symbol_are_told_apart() -> None:
    """Two builds may give one name to different helpers: each object has an engine of its own."""
    made = [link(returning(number)) for number in (2, 3)]
    assert [CFUNCTYPE(c_int64)(code.address)() for code in made] == [2, 3]
