"""Compiling kernels one by one, and loading compiled ones.

An entry is kept as object code and its symbol, and so is the function that C calls. An LLVM engine
of its own links each, because the names of helpers are unique only in the process that compiled
them. The two functions that Python calls need numba's wrappers, and are kept as numba's pickle.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import llvmlite.binding as llvm
from numba import njit
from numba.core import compiler, serialize
from numba.core.caching import _Cache
from numba.core.registry import cpu_target
from numba.core.typing.templates import Signature

from qbnnc.runtime.cache_store import Store
from qbnnc.runtime.kernels import entries
from qbnnc.runtime.kernels.jit import for_c, kernel
from qbnnc.runtime.program import Instruction

Dispatcher: TypeAlias = Any  # numba's, which is more than a function
CompileResult: TypeAlias = Any  # numba's

_rebuild: Any = compiler.CompileResult._rebuild
_dumps: Any = serialize.dumps


@dataclass(frozen=True, slots=True, eq=False)
class Linked:
    """Machine code at an address, which lives as long as its engine."""

    address: int
    engine: llvm.ExecutionEngine


def compiled_entry(instruction: type[Instruction]) -> Dispatcher:
    """Compile the function that the interpreter calls for an instruction."""
    dispatcher = kernel(entries.entry(instruction))
    dispatcher.compile(entries.SIGNATURE)
    return dispatcher


def compiled_for_c(function: Callable[..., int], signature: Signature) -> Dispatcher:
    """Compile a function that C may call with the arguments of its signature."""
    dispatcher = for_c(function)
    dispatcher.compile(signature)
    return dispatcher


def object_code(dispatcher: Dispatcher, *, for_c: bool = False) -> bytes:
    """Return the symbol, a zero byte, and the object file of a function with one signature.

    `for_c` takes the symbol that has C's calling convention, of `compiled_for_c`.
    """
    (result,) = dispatcher.overloads.values()
    _no_address_of_this_process(result)
    names = result.fndesc
    symbol = names.llvm_cfunc_wrapper_name if for_c else names.llvm_func_name
    _, kind, (code, _) = result.library.serialize_using_object_code()
    assert kind == "object"
    return b"\0".join([symbol.encode(), code])


def link(payload: bytes) -> Linked:
    """Link the result of `object_code`, so that it can be called."""
    symbol, _, code = payload.partition(b"\0")
    cpu_target.target_context.refresh()  # numba tells LLVM of the helpers that code may call
    machine = llvm.Target.from_triple(llvm.get_process_triple()).create_target_machine()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return Linked(engine.get_function_address(symbol.decode()), engine)


def callable_from_python(
    function: Callable[..., None], signature: Signature, store: Store, name: str
) -> Dispatcher:
    """Load a function from the store, or compile it and keep it there."""
    dispatcher = njit(nogil=True, error_model="numpy")(function)
    vars(dispatcher)["_cache"] = _Kept(store, name)
    dispatcher.compile(signature)
    dispatcher.disable_compile()
    return dispatcher


class _Kept(_Cache):
    """The cache of one function with one signature, as numba asks for it."""

    def __init__(self, store: Store, name: str) -> None:
        self._store, self._name = store, name

    @property
    def cache_path(self) -> str | None:
        return None if self._store.folder is None else str(self._store.folder)

    def load_overload(self, sig: Signature, target_context: Any) -> CompileResult:
        target_context.refresh()
        if (payload := self._store.read(self._name)) is None:
            return None
        return _rebuild(target_context, *pickle.loads(payload))

    def save_overload(self, sig: Signature, data: CompileResult) -> None:
        _no_address_of_this_process(data)
        self._store.write(self._name, _dumps(data._reduce()))

    def enable(self) -> None:
        """Do nothing: the cache is always on."""

    def disable(self) -> None:
        """Do nothing: the cache is always on."""

    def flush(self) -> None:
        """Do nothing: the store holds nothing back."""


def _no_address_of_this_process(result: CompileResult) -> None:
    assert not result.library.has_dynamic_globals, result.fndesc.qualname
