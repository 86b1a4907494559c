"""The service behind the routes: an artefact, limits, and a batcher."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from qbnnc.support.errors import FileError
from tools.serving.batching import Batcher, Outputs, Predicting
from tools.serving.bodies import Asked, parse


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one process. Rows that wait longer than clients do would be work for nobody."""

    body_bytes: int = 4 << 20
    request_rows: int = 64
    batch_rows: int = 64
    queue_rows: int = 1024
    retry_after_seconds: int = 1


class Served(Predicting, Protocol):
    """A session with what /metadata tells."""

    @property
    def samples(self) -> int:
        """The number of samples L."""


@dataclass(frozen=True, slots=True)
class Opened:
    """An artefact: its session, digest, and the shape of a row."""

    session: Served
    digest: str
    shape: tuple[int, ...]


def open_file(path: str | os.PathLike[str], threads: int | None = None) -> Opened:
    """An .onnx with the input row_ids in onnxruntime, or a .qbnn in the runtime.

    FileError for another file.
    """
    if Path(path).suffix == ".qbnn":
        from qbnnc.ir.format import digest
        from qbnnc.runtime import load

        session = load(path, threads)
        return Opened(session, digest(session.model), session.model.graph.input.type.shape)
    from qbnnc.backends.onnx.session import OnnxArtefact

    artefact = OnnxArtefact.load(path, threads)
    if not artefact.description.row_ids:
        raise FileError("has no input `row_ids`", path, remedy="compile it with --row-ids")
    return Opened(artefact, artefact.digest, artefact.input_shape)


class Service:
    """Parses requests, predicts in batches, and makes answers."""

    def __init__(self, opened: Opened, limits: Limits = Limits(), default_seed: int = 0) -> None:
        self.opened, self.limits, self._seed = opened, limits, default_seed
        self.batcher = Batcher(
            opened.session, batch_rows=limits.batch_rows, queue_rows=limits.queue_rows
        )

    def parse(self, body: bytes) -> Asked:
        """The request in a body; InputError if it does not fit."""
        return parse(
            body,
            self.opened.shape,
            most_rows=self.limits.request_rows,
            default_seed=self._seed,
        )

    async def answer(self, asked: Asked) -> dict[str, object]:
        """The answer as JSON: statistics by name, and samples if they were asked for."""
        outputs = await self.batcher.predict(asked.x, asked.ids, asked.seed)
        return {"seed": asked.seed, "ids": asked.ids.tolist(), **_lists(outputs, asked.samples)}

    def metadata(self) -> dict[str, object]:
        """The network's shape and digest, and the limits of a request."""
        return {
            "digest": self.opened.digest,
            "input_shape": list(self.opened.shape),
            "samples": self.opened.session.samples,
            "default_seed": self._seed,
            "request_rows": self.limits.request_rows,
            "body_bytes": self.limits.body_bytes,
        }

    def health(self) -> dict[str, object]:
        """That the event loop runs, and how much work there is."""
        batcher = self.batcher
        return {
            "status": "ok",
            "waiting_rows": batcher.waiting_rows,
            "requests": batcher.requests,
            "predictions": batcher.predictions,
        }


def _lists(outputs: Outputs, samples: bool) -> dict[str, object]:
    """float32 as JSON numbers: float64 in full, from which float32 is the same again."""
    kept = {k: v for k, v in outputs.items() if samples or not k.startswith("samples")}
    return {name: array.tolist() for name, array in kept.items()}
