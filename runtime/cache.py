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
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from qbnnc.runtime.cache_folder import store
from qbnnc.runtime.cache_store import Store
from qbnnc.runtime.families import OPCODES, compiled_instructions
from qbnnc.runtime.isa import chosen
from qbnnc.runtime.linking import Linked, PythonFunction, link
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
Moments: TypeAlias = Callable[[NDArray[np.float32], NDArray[np.float32]], object]

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
    opcode. `compiled` counts the kernels that were missing. `owners` keep the machine code.
    """

    execute: Execute
    moments: Moments
    predict: int
    table: NDArray[np.int64]
    compiled: int
    owners: tuple[object, ...]


def kernels() -> Kernels:
    """Return the kernels; the first call takes seconds, or half a minute if it compiles them."""
    with _LOCK:
        return _kernels()


@cache
def _kernels() -> Kernels:
    return build(store())


def build(kept: Store) -> Kernels:
    """Load the kernels that are kept; compile and keep the others."""
    instructions = {kind.name(): kind for kind in compiled_instructions()}
    names = [*instructions, _EXECUTE, _MOMENTS, _PREDICT]
    codes = {name: kept.read(_file(name)) for name in names}
    missing = [name for name, code in codes.items() if code is None]
    linked = dict[str, Linked]()
    with _told(missing, kept) as tell:
        for name, code in codes.items():
            if code is None:
                tell(name)
                code = _compiled(name, instructions.get(name))
                kept.write(_file(name), code)
            linked[name] = link(code)
    table = np.zeros(len(OPCODES) + 1, np.int64)
    for name, instruction in instructions.items():
        table[OPCODES[instruction]] = linked[name].address
    execute, moments = (PythonFunction(linked[name]) for name in (_EXECUTE, _MOMENTS))
    return Kernels(
        execute=partial(execute.function, table),
        moments=moments.function,
        predict=linked[_PREDICT].address,
        table=table,
        compiled=len(missing),
        owners=(*linked.values(), execute, moments),
    )


def _compiled(name: str, instruction: type[Instruction] | None) -> bytes:
    """Compile the kernel of a name."""
    from qbnnc.runtime import compilation  # which needs numba, and a warm cache does not

    if instruction is not None:
        return compilation.object_code(compilation.entry(instruction))
    others = {
        _EXECUTE: compilation.execute,
        _MOMENTS: compilation.mean_and_variance,
        _PREDICT: compilation.for_c,
    }
    return compilation.object_code(others[name]())


def _file(name: str) -> str:
    return f"{chosen().value}-{name}"


@contextmanager
def _told(missing: Sequence[str], kept: Store) -> Iterator[Callable[[str], None]]:
    """Log the begin and the end of a build; yield a function that logs a kernel's turn."""
    start, known, count = (time.perf_counter(), time.process_time()), kept.fault, len(missing)
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
        took = time.perf_counter() - start[0], time.process_time() - start[1]
        _LOG.info("compiled %s in %.1f s (%.1f s of CPU time)", what, *took, extra=ended)
    if kept.fault and not known:
        _LOG.warning(_NOT_KEPT, kept.fault)
