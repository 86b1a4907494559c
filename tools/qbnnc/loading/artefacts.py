"""Artefacts behind one interface: .onnx in onnxruntime, .qbnn in our runtime."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qbnnc.ir import format
from qbnnc.ir.head import Head
from qbnnc.ir.ids import rows_taken_by
from qbnnc.ir.model import Model
from qbnnc.ir.types import Array, Stage
from qbnnc.support.errors import FileError
from qbnnc.support.extras import require
from qbnnc.support.files import read_bytes
from qbnnc.support.id_rows import Rows
from qbnnc.support.several_inputs import Arrays

if TYPE_CHECKING:
    from qbnnc.backends.onnx.engine import Engine
    from qbnnc.backends.onnx.session import OnnxArtefact
    from qbnnc.runtime import Session as QbnnSession


_ONNX = b"\x08"  # the version, which protobuf writes first


class Session(Protocol):
    """Predicts by one signature, which the sessions of both runtimes have."""

    @property
    def samples(self) -> int:
        """L by default: the samples of all members together."""

    def predict(
        self,
        x: Arrays,
        samples: int | None = None,
        seed: int = 0,
        first_row: int = 0,
        batch_size: int | None = None,
    ) -> Mapping[str, NDArray[np.float32]]:
        """Samples, whose names begin so and which come in order, and statistics by name."""


class NumberedSession(Session, Protocol):
    """A session that takes the numbers of rows one by one."""

    def predict(
        self,
        x: Arrays,
        samples: int | None = None,
        seed: int = 0,
        first_row: int = 0,
        batch_size: int | None = None,
        *,
        row_ids: ArrayLike | None = None,
    ) -> Mapping[str, NDArray[np.float32]]:
        """As any session; `row_ids` [B] are in place of `first_row`."""


class Predictor(Session, Protocol):
    """A session that knows the Model behind it: its head, shapes and method."""

    @property
    def model(self) -> Model:
        """The Model."""


@dataclass(frozen=True, slots=True)
class Wrapped:
    """A session with more than a session has; it predicts as the `session` does."""

    session: Session

    @property
    def samples(self) -> int:
        return self.session.samples

    def predict(
        self,
        x: Arrays,
        samples: int | None = None,
        seed: int = 0,
        first_row: int = 0,
        batch_size: int | None = None,
    ) -> Mapping[str, NDArray[np.float32]]:
        return self.session.predict(x, samples, seed, first_row, batch_size)


class Artefact(Predictor, NumberedSession, Protocol):
    """A compiled network, ready to run."""

    @property
    def holds_model(self) -> bool:
        """Whether `model` can be had: not from an .onnx compiled without an embedded model."""

    @property
    def takes_row_ids(self) -> bool:
        """Whether `predict` takes `row_ids`: an .onnx does if it was compiled with them."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one row."""

    @property
    def rows_taken(self) -> Rows:
        """The shape of one row, and the vocabularies of its ids."""

    @property
    def head(self) -> Head:
        """The statistics, which are known without a Model too."""

    @property
    def digest(self) -> str:
        """The Model's; artefacts of one compile share it."""

    def trace(
        self, x: Arrays, samples: int | None = None, seed: int = 0, first_row: int = 0
    ) -> Mapping[str, Array]:
        """The codes of every node the backend still computes, [L or 1, B or 1, *shape]."""


@dataclass(frozen=True, slots=True)
class _OfFile(Wrapped):
    """A session of a file; it takes `row_ids`."""

    session: NumberedSession

    def predict(
        self,
        x: Arrays,
        samples: int | None = None,
        seed: int = 0,
        first_row: int = 0,
        batch_size: int | None = None,
        *,
        row_ids: ArrayLike | None = None,
    ) -> Mapping[str, NDArray[np.float32]]:
        return self.session.predict(x, samples, seed, first_row, batch_size, row_ids=row_ids)


@dataclass(frozen=True, slots=True)
class QbnnArtefact(_OfFile):
    """A .qbnn file in our runtime."""

    session: QbnnSession
    holds_model: bool = True
    takes_row_ids: bool = True

    @property
    def model(self) -> Model:
        return self.session.model

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.session.model.graph.input.type.shape

    @property
    def rows_taken(self) -> Rows:
        return rows_taken_by(self.session.model.graph)

    @property
    def head(self) -> Head:
        return self.session.model.head

    @property
    def digest(self) -> str:
        return format.digest(self.session.model)

    def trace(
        self, x: Arrays, samples: int | None = None, seed: int = 0, first_row: int = 0
    ) -> Mapping[str, Array]:
        members = len(self.session.model.members)
        values: dict[str, Array] = {}
        for member in range(members):
            prefix = f"member{member}/" if members > 1 else ""
            traced = self.session.trace(x, samples, seed, first_row, member)
            values |= {prefix + name: array for name, array in traced.items()}
        return values


@dataclass(frozen=True, slots=True)
class OnnxFile(_OfFile):
    """An .onnx file in onnxruntime; `known` is the Model in it, if it has one."""

    session: OnnxArtefact
    known: Model | None

    @property
    def holds_model(self) -> bool:
        return self.known is not None

    @property
    def takes_row_ids(self) -> bool:
        return self.session.description.row_ids

    @property
    def model(self) -> Model:
        if self.known is None:
            from qbnnc.backends.onnx.embedded_model import without_model

            raise without_model(self.session.path)
        return self.known

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.session.input_shape

    @property
    def rows_taken(self) -> Rows:
        return self.session.description.rows

    @property
    def head(self) -> Head:
        return self.session.description.head

    @property
    def digest(self) -> str:
        return self.session.digest

    def trace(
        self, x: Arrays, samples: int | None = None, seed: int = 0, first_row: int = 0
    ) -> Mapping[str, Array]:
        return self.session.trace(x, samples, seed, first_row)


def open_artefact(
    path: str | os.PathLike[str], threads: int | None = None, engine: Engine | None = None
) -> Artefact:
    """The artefact in a file, told by its content; FileError if it is none.

    `threads`: how many cores a prediction may use (None: the runtime's own choice). `engine` runs
    the file if it is an .onnx, instead of onnxruntime.
    """
    data = read_bytes(path)
    if format.is_model(data):
        from qbnnc.runtime import load  # numba takes half a second, and an .onnx needs none

        return QbnnArtefact(load(path, threads))
    return artefact_of(data, path, threads, engine)


def artefact_of(
    data: bytes,
    path: str | os.PathLike[str],
    threads: int | None = None,
    engine: Engine | None = None,
) -> Artefact:
    """The artefact in `data`; `path` is for errors, and the rest is as for `open_artefact`."""
    if format.is_model(data):
        from qbnnc.runtime import Session

        return QbnnArtefact(Session(format.from_bytes(data, path), path, threads))
    require("onnxruntime", what=f"running {Path(path).name}")
    from qbnnc.backends.onnx.embedded_model import embedded_model
    from qbnnc.backends.onnx.session import OnnxArtefact

    check_may_be_onnx(data, path)
    artefact = OnnxArtefact.from_bytes(data, path, threads, engine)
    embedded = artefact.description.embedded
    known = embedded_model(artefact.file, artefact.description, path) if embedded else None
    return OnnxFile(artefact, known)


def read_integer_model(path: str | os.PathLike[str]) -> Model:
    """The Model of a .qbnn or .onnx artefact; FileError if it is none, or not INTEGER."""
    data = read_bytes(path)
    if not format.is_model(data):
        check_may_be_onnx(data, path)
        from qbnnc.backends.onnx.embedded_model import read_model

        return read_model(data, path)
    model = format.from_bytes(data, path)
    if model.stage is not Stage.INTEGER:
        raise FileError(
            f"a {model.stage.name} model, not compiled yet",
            path,
            remedy=f"qbnnc compile {os.fspath(path)} -o ...",
        )
    return model


def check_may_be_onnx(data: bytes, path: str | os.PathLike[str]) -> None:
    """FileError unless this can be a protobuf: no zip, no pickle, no text."""
    if not data.startswith(_ONNX) and (
        data.startswith((b"PK", b"\x80")) or b"\x00" not in data[:4096]
    ):
        raise FileError(
            "neither a compiled .qbnn nor an .onnx file",
            path,
            remedy="compile the model first (qbnnc compile MODEL -o out.qbnn)",
        )
