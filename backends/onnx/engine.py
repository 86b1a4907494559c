"""Engines that run ONNX files, and onnxruntime, which only this module knows."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import onnxruntime

from qbnnc.ir.types import Array
from qbnnc.support.errors import FileError

_FATAL_ONLY = 4  # errors become exceptions, so that onnxruntime need not print them too


class Runner(Protocol):
    """An ONNX file that an engine has loaded."""

    def run(self, names: list[str], feed: Mapping[str, Array]) -> list[Array]:
        """The outputs of these names, for inputs by name."""


class Engine(Protocol):
    """A program that runs ONNX files. Both methods may raise any Exception."""

    @property
    def name(self) -> str:
        """The name for messages."""

    def open(self, data: bytes, threads: int | None) -> Runner:
        """Load a file; `threads` are the engine's own choice by default."""


@dataclass(frozen=True, slots=True)
class OnnxRuntime:
    """onnxruntime on the CPU at its default session options."""

    name: str = "onnxruntime"

    def open(self, data: bytes, threads: int | None) -> Runner:
        runner: Runner = _session(data, threads)
        return runner


def open_session(
    data: bytes,
    path: str | os.PathLike[str],
    threads: int | None,
    optimised: Path | None = None,
) -> onnxruntime.InferenceSession:
    """onnxruntime's session for a file, ours or not; FileError if it cannot load it.

    `optimised` gets the graph that onnxruntime makes of it.
    """
    try:
        return _session(data, threads, optimised)
    except Exception as error:  # onnxruntime's errors share no class of their own
        raise load_error(error, "onnxruntime", path) from None


def _session(
    data: bytes, threads: int | None, optimised: Path | None = None
) -> onnxruntime.InferenceSession:
    """Threads spin within a run and stop at its end: they would take a core from later work."""
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.log_severity_level = _FATAL_ONLY
    options.intra_op_num_threads = threads or 0
    if optimised is not None:
        options.optimized_model_filepath = os.fspath(optimised)
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def load_error(error: Exception, engine: str, path: str | os.PathLike[str]) -> FileError:
    """An engine's error while it loads a file."""
    return FileError(f"{engine} cannot load it ({one_line(error)})", path)


def one_line(error: Exception) -> str:
    """The first line of an error, or its kind."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
