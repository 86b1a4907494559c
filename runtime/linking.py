"""Linking compiled kernels, and calling them from Python. This needs no numba.

An LLVM engine of its own links each kernel, because the names of helpers are unique only in the
build that made them.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import llvmlite.binding as llvm

from qbnnc.runtime.isa import target_machine

SYMBOL = "qbnnc_kernel"  # of a kernel's C function
PYTHON_SYMBOL = "qbnnc_python"  # of the function that Python calls
_API = ("PyLong_AsLongLong", "PyLong_FromLongLong", "PyEval_SaveThread", "PyEval_RestoreThread")
_METH_FASTCALL = 0x80
_DATA, _SHAPE = 0, 16  # bytes after an array's object head: PyArrayObject_fields of numpy's C API


@dataclass(frozen=True, slots=True, eq=False)
class Linked:
    """Machine code at an address, which lives as long as its engine."""

    address: int
    engine: llvm.ExecutionEngine


def link(code: bytes) -> Linked:
    """Link the object code of a kernel, so that it can be called."""
    _initialise()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), target_machine())
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return Linked(engine.get_function_address(SYMBOL), engine)


class _MethodDef(ctypes.Structure):
    """PyMethodDef of Python's C API."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


class PythonFunction:
    """A kernel as a function that Python calls; `function` is valid as long as this object."""

    def __init__(self, linked: Linked) -> None:
        address = linked.engine.get_function_address(PYTHON_SYMBOL)
        self._method = _MethodDef(b"kernel", address, _METH_FASTCALL, None)
        self._linked = linked
        make = ctypes.pythonapi["PyCFunction_NewEx"]
        make.restype = ctypes.py_object
        make.argtypes = [ctypes.POINTER(_MethodDef), ctypes.c_void_p, ctypes.c_void_p]
        self.function: Callable[..., int] = make(ctypes.byref(self._method), None, None)


def python_function(kinds: Sequence[int | None]) -> str:
    """Write the LLVM IR of the function that Python calls, PYTHON_SYMBOL.

    `kinds` are its arguments: None is an integer, and n a C-contiguous numpy array, whose address
    and first n sizes the kernel takes. No argument is checked. The GIL is released meanwhile.
    """
    lines, given = list[str](), list[str]()
    for i, sizes in enumerate(kinds):
        lines.append(f"%at{i} = getelementptr ptr, ptr %arguments, i64 {i}")
        lines.append(f"%o{i} = load ptr, ptr %at{i}")
        if sizes is None:
            lines.append(f"%v{i} = call i64 @PyLong_AsLongLong(ptr %o{i})")
            given.append(f"i64 %v{i}")
            continue
        head = object.__basicsize__
        lines.append(f"%d{i} = getelementptr i8, ptr %o{i}, i64 {head + _DATA}")
        lines.append(f"%v{i} = load i64, ptr %d{i}")
        lines.append(f"%p{i} = getelementptr i8, ptr %o{i}, i64 {head + _SHAPE}")
        lines.append(f"%s{i} = load ptr, ptr %p{i}")
        given.append(f"i64 %v{i}")
        for n in range(sizes):
            lines.append(f"%q{i}_{n} = getelementptr i64, ptr %s{i}, i64 {n}")
            lines.append(f"%n{i}_{n} = load i64, ptr %q{i}_{n}")
            given.append(f"i64 %n{i}_{n}")
    body = "\n".join(lines)
    return f"""
        declare i64 @PyLong_AsLongLong(ptr)
        declare ptr @PyLong_FromLongLong(i64)
        declare ptr @PyEval_SaveThread()
        declare void @PyEval_RestoreThread(ptr)
        declare i64 @{SYMBOL}({", ".join(["i64"] * len(given))})
        define ptr @{PYTHON_SYMBOL}(ptr %self, ptr %arguments, i64 %count) {{
            {body}
            %thread = call ptr @PyEval_SaveThread()
            %result = call i64 @{SYMBOL}({", ".join(given)})
            call void @PyEval_RestoreThread(ptr %thread)
            %number = call ptr @PyLong_FromLongLong(i64 %result)
            ret ptr %number
        }}"""


@cache
def _initialise() -> None:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    for name in _API:
        llvm.add_symbol(name, _address_of(ctypes.pythonapi[name]))


def _address_of(function: Any) -> int:
    address = ctypes.cast(function, ctypes.c_void_p).value
    assert address is not None
    return address
