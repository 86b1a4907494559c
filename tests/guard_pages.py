"""Memory between pages that nobody may touch: an overrun of one byte is a SIGSEGV.

`fences` gives the runtime such memory for its arenas, constants, inputs and outputs. Their ends lie
at a guard page (AFTER), or their beginnings (BEFORE): one run cannot have both.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from enum import Enum
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from qbnnc.runtime.arena import ArenaPool
from qbnnc.runtime.outputs import Outputs
from qbnnc.support.id_rows import Rows
from qbnnc.support.several_inputs import Arrays

_PAGE = mmap.PAGESIZE
_GUARD = 16 * _PAGE  # a stride past the end should land in it too
_LINE = 64  # arenas and constants are whole lines, as the runtime rounds them
_NO_ACCESS = 0


class Side(Enum):
    AFTER = "after"
    BEFORE = "before"


def fenced_bytes(count: int, side: Side) -> NDArray[np.uint8]:
    """`count` bytes, not cleared, with a guard page directly at one side and near the other."""
    body = -(-count // _PAGE) * _PAGE
    memory = mmap.mmap(-1, body + 2 * _GUARD, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for guard in (address, address + _GUARD + body):
        _forbid(guard, _GUARD)
    start = _GUARD + (body - count if side is Side.AFTER else 0)
    return np.frombuffer(memory, np.uint8, count, start)


def fenced_copy(array: NDArray[np.float32], side: Side) -> NDArray[np.float32]:
    """The same numbers between fences, C-contiguous."""
    copy = fenced_bytes(array.nbytes, side).view(np.float32).reshape(array.shape)
    copy[...] = array
    return copy


@contextmanager
def fences(side: Side) -> Iterator[None]:
    """Within: every buffer that kernels are given lies between fences, and none is used twice."""

    def lines(count: int) -> NDArray[np.uint8]:
        return fenced_bytes(-(-count // _LINE) * _LINE, side)

    def take(pool: ArenaPool, count: int) -> NDArray[np.uint8]:
        return lines(count)

    def give_back(pool: ArenaPool, arena: NDArray[np.uint8]) -> None:
        """An arena of a larger prediction would hide what the next one reads past its end."""

    def allocate(outputs: Outputs) -> NDArray[np.float32]:
        return fenced_bytes(4 * outputs.elements, side).view(np.float32)

    whole = Rows.read

    def read(rows: Rows, x: Arrays, name: str = "the input") -> NDArray[np.float32]:
        return fenced_copy(whole(rows, x, name), side)

    with ExitStack() as stack:
        for module in _users_of("aligned_bytes"):
            stack.enter_context(patch.object(module, "aligned_bytes", lines))
        stack.enter_context(patch.object(ArenaPool, "take", take))
        stack.enter_context(patch.object(ArenaPool, "give_back", give_back))
        stack.enter_context(patch.object(Outputs, "allocate", allocate))
        stack.enter_context(patch.object(Rows, "read", read))
        yield


def _users_of(name: str) -> list[object]:
    """The runtime's modules that have imported a function, and the one that defines it."""
    modules = [m for n, m in sys.modules.items() if n.startswith("qbnnc.runtime")]
    return [module for module in modules if hasattr(module, name)]


def _forbid(address: int, count: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(count), _NO_ACCESS):
        raise OSError(ctypes.get_errno(), "mprotect")
