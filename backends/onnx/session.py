"""Compiled ONNX files in onnxruntime: the only module that knows onnxruntime."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import ArrayLike, NDArray

from qbnnc.backends.onnx.artefact import Description, StoredValue, parse, read_proto
from qbnnc.backends.onnx.embedded_model import embedded_model
from qbnnc.backends.onnx.names import FIRST_ROW, INPUT, SEED
from qbnnc.ir.model import Model
from qbnnc.ir.types import Array
from qbnnc.support.errors import FileError, UserError
from qbnnc.support.files import read_bytes
from qbnnc.support.inputs import (
    MOST_ROWS_AT_ONCE,
    MOST_THREADS,
    as_batch,
    as_count,
    as_integer,
    check_asked,
)

_FATAL_ONLY = 4  # errors become exceptions, so that onnxruntime need not print them too


@dataclass(frozen=True, slots=True, eq=False)
class OnnxArtefact:
    """An ONNX file of ours, ready to run."""

    path: str
    description: Description
    _data: bytes
    _threads: int | None = None
    _sessions: dict[int, onnxruntime.InferenceSession] = field(default_factory=dict)

    @staticmethod
    def load(path: str | os.PathLike[str], threads: int | None = None) -> OnnxArtefact:
        """Read a file; FileError if it is no ONNX file, not ours, damaged or changed.

        ArtefactWarning for a file so old that it cannot say whether it was changed.
        `threads` are onnxruntime's own choice by default.
        """
        return OnnxArtefact.from_bytes(read_bytes(path), path, threads)

    @staticmethod
    def from_bytes(
        data: bytes, path: str | os.PathLike[str] = "model.onnx", threads: int | None = None
    ) -> OnnxArtefact:
        """The artefact in `data`; `path` is for errors."""
        return OnnxArtefact(os.fspath(path), read_proto(data, path)[1], data, threads)

    def model(self) -> Model:
        """The Model that the file was made from.

        FileError if it was compiled without, or the weights are others.
        """
        proto = parse(self._data, self.path)
        return embedded_model(proto, self.description, len(self._data), self.path)

    @property
    def digest(self) -> str:
        """The SHA-256 of the Model; artefacts of one compile share it."""
        return self.description.digest

    @property
    def samples(self) -> int:
        """The number of samples L, fixed when the file was made."""
        return self.description.samples

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one row."""
        return self.description.input_shape

    @property
    def output_names(self) -> tuple[str, ...]:
        """The samples, then the statistics."""
        return self.description.output_names

    def predict(
        self,
        x: ArrayLike,
        samples: int | None = None,
        seed: int = 0,
        first_row: int = 0,
        batch_size: int | None = None,
        threads: int | None = None,
    ) -> dict[str, NDArray[np.float32]]:
        """All outputs for a batch x [B, *shape]: samples [L, B, ...] and statistics [B, ...].

        With fewer `samples` than the file has, the first ones, and the statistics of those. The
        batch is run `batch_size` rows at a time (all at once by default), which changes no bit of
        the samples. `threads`: those of `load` by default. InputError for data that does not fit,
        UserError for a number of samples the file cannot give.
        """
        count = self._sample_count(samples)
        batch, session = as_batch(x, self.input_shape), self._session(threads)
        sample_names = self.description.sample_names
        names = self.output_names if count == self.samples else sample_names
        check_asked(
            len(batch), self.samples, self.description.members, self.description.output_size
        )
        step = max(1, len(batch))
        if batch_size is not None:
            step = as_count(batch_size, "batch_size", MOST_ROWS_AT_ONCE)
        number, row = as_integer(seed, "seed"), as_integer(first_row, "first_row")
        parts = [
            self._predicted(session, names, batch[start : start + step], number, start + row)
            for start in range(0, max(1, len(batch)), step)
        ]
        whole = {
            name: np.concatenate(arrays, axis=int(name in sample_names))
            for name, arrays in zip(names, zip(*parts, strict=True), strict=True)
        }
        return whole if count == self.samples else self._first(whole, count)

    def values(
        self, x: ArrayLike, names: Sequence[str], *, seed: int = 0, first_row: int = 0
    ) -> dict[str, Array]:
        """Values of the IR by name ("member<i>/name" with several members).

        Each is [L, B, *shape], with 1 in place of L or B where it does not vary; L counts one
        member's samples. UserError for a value that is not in the file: see `value_names`.
        """
        batch = as_batch(x, self.input_shape)
        if missing := [name for name in names if name not in self.description.values]:
            raise UserError(f"holds no value called {missing[0]!r}", place=self.path)
        stored = [self.description.values[name] for name in names]
        session = open_session(self._exposing(stored), self.path, self._threads)
        numbers = as_integer(seed, "seed"), as_integer(first_row, "first_row")
        arrays = self._run(session, [s.name for s in stored], batch, *numbers)
        apart = (self._apart(s, a, len(batch)) for s, a in zip(stored, arrays, strict=True))
        return dict(zip(names, apart, strict=True))

    def trace(
        self, x: ArrayLike, samples: int | None = None, seed: int = 0, first_row: int = 0
    ) -> dict[str, Array]:
        """All values of the IR that are in the file, as `values` gives them; for small batches."""
        draws = self._sample_count(samples) // self.description.members
        every = self.values(x, self.value_names, seed=seed, first_row=first_row)
        return {name: array[:draws] for name, array in every.items()}

    @property
    def value_names(self) -> tuple[str, ...]:
        """The names `values` takes, in the order in which they are computed."""
        return tuple(self.description.values)

    def _first(
        self, whole: dict[str, NDArray[np.float32]], count: int
    ) -> dict[str, NDArray[np.float32]]:
        """The first samples, and the statistics made of them."""
        samples = {name: array[:count] for name, array in whole.items()}
        return samples | self.description.head.evaluate(tuple(samples.values()))

    def _sample_count(self, samples: int | None) -> int:
        if samples is None:
            return self.samples
        count, members = as_integer(samples, "samples"), self.description.members
        if not 1 <= count <= self.samples or count % members:
            multiple = f" that is a multiple of {members}" if members > 1 else ""
            more = "" if self.samples == members else "; for more compile with a larger `samples`"
            raise UserError(
                f"gives up to {self.samples} samples, not {count}",
                place=self.path,
                remedy=f"ask for a number{multiple} in 1..{self.samples}{more}",
            )
        return count

    def _exposing(self, values: Sequence[StoredValue]) -> bytes:
        """The file with more outputs."""
        proto = parse(self._data, self.path)
        known = {info.name: info for info in proto.graph.value_info}
        proto.graph.output.extend(known[name] for name in dict.fromkeys(v.name for v in values))
        return bytes(proto.SerializeToString())

    def _apart(self, value: StoredValue, array: Array, rows: int) -> Array:
        """The leading axis of a stored value as two, [L, B]."""
        axes = value.axes.split(",")
        draws = self.samples // self.description.members
        leading = (draws if "sample" in axes else 1, rows if "row" in axes else 1)
        try:
            return array.reshape(*leading, *array.shape[1:])
        except ValueError:
            raise FileError(f"{value.name!r} varies with other than it says", self.path) from None

    def _session(self, threads: int | None) -> onnxruntime.InferenceSession:
        chosen = self._threads if threads is None else threads
        key = 0 if chosen is None else as_count(chosen, "threads", MOST_THREADS)
        if key not in self._sessions:
            self._sessions[key] = open_session(self._data, self.path, key)
        return self._sessions[key]

    def _predicted(
        self,
        session: onnxruntime.InferenceSession,
        names: Sequence[str],
        batch: NDArray[np.float32],
        seed: int,
        first_row: int,
    ) -> list[Array]:
        """The outputs of `_run`; FileError unless they are as the file says of itself."""
        made = self._run(session, names, batch, seed, first_row)
        for name, array in zip(names, made, strict=True):
            sampled = name in self.description.sample_names
            leading = (self.samples, len(batch)) if sampled else (len(batch),)
            if array.dtype != np.float32 or array.shape[: len(leading)] != leading:
                raise FileError(
                    f"gives {name} as {array.dtype} {list(array.shape)}, which is not what it says",
                    self.path,
                    remedy="compile it again",
                )
        return made

    def _run(
        self,
        session: onnxruntime.InferenceSession,
        names: Sequence[str],
        batch: NDArray[np.float32],
        seed: int,
        first_row: int,
    ) -> list[Array]:
        feed = {INPUT: batch, SEED: _int64(seed), FIRST_ROW: _int64(first_row)}
        try:
            made: list[Array] = session.run(list(names), feed)
        except Exception as error:  # onnxruntime's errors share no class of their own
            raise UserError(f"onnxruntime failed ({_line(error)})", place=self.path) from None
        return made


def float_compute_nodes(model: str | os.PathLike[str] | bytes) -> list[str]:
    """The layers that onnxruntime would still compute in float, as "Conv:conv1.q/real".

    Empty for a file of ours: at its default session options onnxruntime has made an integer
    kernel of every layer. FileError if it cannot load the file.
    """
    path = "the model" if isinstance(model, bytes) else model
    data = model if isinstance(model, bytes) else read_bytes(model)
    with tempfile.TemporaryDirectory() as folder:
        optimised = Path(folder) / "optimised.onnx"
        open_session(data, path, None, optimised)
        nodes = _all_nodes(onnx.load_model(optimised).graph)
        return [f"{node.op_type}:{node.output[0]}" for node in nodes if _is_float(node.op_type)]


def _all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """The nodes of a graph, and those inside its Scans."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            yield from _all_nodes(attribute.g)


def _is_float(kind: str) -> bool:
    """Whether this is a float layer; onnxruntime's fused ones are called FusedConv and so on."""
    return kind.removeprefix("Fused") in {"Conv", "ConvTranspose", "Gemm", "MatMul"}


def open_session(
    data: bytes,
    path: str | os.PathLike[str],
    threads: int | None,
    optimised: Path | None = None,
) -> onnxruntime.InferenceSession:
    """A session for a file, ours or not; `optimised` gets the graph that onnxruntime makes of it.

    Threads spin within a run and stop at its end: they would take a core from later work.
    """
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.log_severity_level = _FATAL_ONLY
    options.intra_op_num_threads = threads or 0
    if optimised is not None:
        options.optimized_model_filepath = os.fspath(optimised)
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no class of their own
        raise FileError(f"onnxruntime cannot load it ({_line(error)})", path) from None


def _int64(number: int) -> NDArray[np.int64]:
    """`number` mod 2^64 as its two's complement. A 0-d array: onnxruntime takes no scalar."""
    return np.array(number % 2**64, np.uint64).view(np.int64)


def _line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
