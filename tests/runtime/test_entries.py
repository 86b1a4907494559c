"""Kernels that are compiled by themselves and called by their address."""

from __future__ import annotations

from collections.abc import Callable
from ctypes import CFUNCTYPE, c_int64
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest
from numba import njit
from numba.np.numpy_support import carray

from qbnnc.ir.types import Array
from qbnnc.runtime.compilation import Linked, link, object_code
from qbnnc.runtime.kernels.addressing import pointer
from qbnnc.runtime.kernels.entries import SIGNATURE, call
from qbnnc.runtime.kernels.jit import kernel


def _through(address: int, row: Array, context: Array, memory: Array) -> None:
    """Call an entry as the interpreter does."""
    call(address, row, context, memory)


through: Any = njit(_through)


def sums(row_at: int, context_at: int, memory_at: int) -> None:
    row, context = carray(pointer(row_at), 2, np.int64), carray(pointer(context_at), 2, np.int64)
    carray(pointer(memory_at), 1, np.int64)[0] += row[0] * context[1]


def fails(row_at: int, context_at: int, memory_at: int) -> None:
    if row_at != 0:
        raise ValueError("an instruction that cannot be run")


def linked(function: Callable[..., None]) -> Linked:
    dispatcher: Any = kernel(function)
    dispatcher.compile(SIGNATURE)
    return link(object_code(dispatcher))


def arrays() -> tuple[Array, Array, Array]:
    return np.array([3, 0]), np.array([0, 5]), np.array([100])


def test_an_entry_gets_the_addresses_of_arrays() -> None:
    machine_code, (row, context, memory) = linked(sums), arrays()
    for _ in range(2):
        through(machine_code.address, row, context, memory)
    assert memory[0] == 100 + 2 * 3 * 5


def test_what_an_entry_raises_is_passed_on() -> None:
    machine_code = linked(fails)
    with pytest.raises(ValueError, match="an instruction that cannot be run"):
        through(machine_code.address, *arrays())


def returning(number: int) -> bytes:
    """Make object code of a function `same` that calls a helper of a common name."""
    module = llvm.parse_assembly(
        f"define linkonce_odr i64 @helper() noinline {{ ret i64 {number} }}\n"
        "define i64 @same() { %value = call i64 @helper()\n ret i64 %value }"
    )
    target = llvm.Target.from_triple(llvm.get_process_triple())
    machine = target.create_target_machine(reloc="pic", jit=True)
    return b"same\0" + bytes(machine.emit_object(module))


def test_objects_of_one_symbol_are_told_apart() -> None:
    """Two builds may give one name to different helpers: each object has an engine of its own."""
    made = [link(returning(number)) for number in (2, 3)]
    assert [CFUNCTYPE(c_int64)(code.address)() for code in made] == [2, 3]
