"""The compiled kernels, which are loaded from the cache or compiled now.

Each kernel is kept as soon as it is compiled, so that an interrupted build goes on where it was.
The logger `qbnnc` reports a build: INFO before and after it, DEBUG for each kernel. These records
have a Progress as the attribute `compiling`. A WARNING says that kernels cannot be kept.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from threading import Lock
from typing import NamedTuple, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from qbnnc.runtime.cache_folder import store
from qbnnc.runtime.cache_store import Store
from qbnnc.runtime.compilation import (
    Linked,
    callable_from_python,
    compiled_entry,
    compiled_for_c,
    link,
    object_code,
)
from qbnnc.runtime.families import OPCODES
from qbnnc.runtime.isa import chosen
from qbnnc.runtime.kernels import interpreter, moments, predict
from qbnnc.runtime.kernels.entries import compiled_instructions
from qbnnc.runtime.program import Instruction
from qbnnc.support.text import counted

Execute: TypeAlias = Callable[
    [
        NDArray[np.int64],
        int,
        int,
        NDArray[np.float32],
        NDArray[np.uint8],
        NDArray[np.float32],
    ],
    int,
]
Moments: TypeAlias = Callable[[NDArray[np.float32], NDArray[np.float32]], None]

_LOCK = Lock()  # one thread compiles while the others wait
_LOG = logging.getLogger("qbnnc")
_EXECUTE, _MOMENTS, _PREDICT = "execute", "moments", "predict"
_NOT_KEPT = "each process compiles the kernels anew, because they cannot be kept: %s"


class Progress(NamedTuple):
    """The state of a build: `done` of `total` missing kernels, and the next one ("" is none)."""

    done: int
    total: int
    kernel: str


class Kernels(NamedTuple):
    """The functions that Python calls, `interpreter.execute` and `moments.moments`, and C's.

    `predict` is the address of `predict.predict`. `table` has the addresses of the entries, by
    opcode. `compiled` counts the kernels that were missing. `linked` owns the machine code.
    """

    execute: Execute
    moments: Moments
    predict: int
    table: NDArray[np.int64]
    compiled: int
    linked: Sequence[Linked]


def kernels() -> Kernels:
    """Return the kernels; the first call takes seconds, or half a minute if it compiles them."""
    with _LOCK:
        return _kernels()


@cache
def _kernels() -> Kernels:
    return build(store())


def build(kept: Store) -> Kernels:
    """Load the kernels that are kept; compile and keep the others."""
    instructions = compiled_instructions()
    names = [*(kind.name() for kind in instructions), _EXECUTE, _MOMENTS, _PREDICT]
    missing = [name for name in names if kept.read(_file(name)) is None]
    linked, table = list[Linked](), np.zeros(len(OPCODES) + 1, np.int64)
    with _told(missing, kept) as tell:
        for instruction in instructions:
            tell(name := instruction.name())
            linked.append(_linked(name, kept, partial(_entry_code, instruction)))
            table[OPCODES[instruction]] = linked[-1].address
        tell(_EXECUTE)
        execute = callable_from_python(
            interpreter.execute, interpreter.SIGNATURE, kept, _file(_EXECUTE)
        )
        tell(_MOMENTS)
        mean = callable_from_python(moments.moments, moments.SIGNATURE, kept, _file(_MOMENTS))
        tell(_PREDICT)
        linked.append(_linked(_PREDICT, kept, _predict_code))
    run = cast(Execute, partial(execute, table))
    return Kernels(run, cast(Moments, mean), linked[-1].address, table, len(missing), linked)


def _linked(name: str, kept: Store, compiled: Callable[[], bytes]) -> Linked:
    """Link the object code of a name; compile it if it is not kept."""
    if (code := kept.read(_file(name))) is None:
        code = compiled()
        kept.write(_file(name), code)
    return link(code)


def _entry_code(instruction: type[Instruction]) -> bytes:
    return object_code(compiled_entry(instruction))


def _predict_code() -> bytes:
    return object_code(compiled_for_c(predict.predict, predict.SIGNATURE), for_c=True)


def _file(name: str) -> str:
    return f"{chosen().value}-{name}"


@contextmanager
def _told(missing: Sequence[str], kept: Store) -> Iterator[Callable[[str], None]]:
    """Log the begin and the end of a build; yield a function that logs a kernel's turn."""
    start, known, count = time.perf_counter(), kept.fault, len(missing)
    what = f"{counted(count, 'kernel')} for {chosen().value}"

    def tell(name: str) -> None:
        if name in missing:
            progress = Progress(missing.index(name), count, name)
            _LOG.debug("compiling %s", name, extra={"compiling": progress})

    if known:
        _LOG.warning(_NOT_KEPT, known)
    if missing:
        place = f"kept in {kept.folder}" if kept.folder else "not kept"
        begun = {"compiling": Progress(0, count, "")}
        _LOG.info("compiling %s, %s", what, place, extra=begun)
    yield tell
    if missing:
        ended = {"compiling": Progress(count, count, "")}
        _LOG.info("compiled %s in %.1f s", what, time.perf_counter() - start, extra=ended)
    if kept.fault and not known:
        _LOG.warning(_NOT_KEPT, kept.fault)
