"""The loop of a run: rows are read, sent to workers, and their results appended in order."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from qbnnc.batches.computing import Computed, Computer
from qbnnc.batches.options import MOST_ROW, first_row_error
from qbnnc.batches.partial import State
from qbnnc.batches.reading.rows import Chunk
from qbnnc.batches.spool import Done, Spool
from qbnnc.batches.workers.pool import Submit
from qbnnc.loading.clipping import clipped_share
from qbnnc.support.errors import UserError

Progress = Callable[[str, int, int], None]
"""Gets a label, the rows that are done, and all rows: an estimate where only reading tells."""


@dataclass(slots=True)
class Run:
    """A run under way; `clipped` counts input values beyond the calibrated range."""

    computer: Computer
    first_row: int
    count: int | None
    progress: Progress | None = None
    clipped: float = field(default=0.0, init=False)
    values: int = field(default=0, init=False)

    def skip(self, chunks: Iterator[Chunk], state: State) -> Done | None:
        """Read the rows that a former run has kept; None if they are other rows now.

        The first chunk after them begins where they end.
        """
        digest, rows = hashlib.sha256(), 0
        while rows < state.rows:
            chunk = next(chunks, None)
            if chunk is None:
                return None
            digest.update(np.ascontiguousarray(chunk.rows, "<f4").reshape(-1).view(np.uint8).data)
            rows += len(chunk.rows)
            self._count(chunk)
        return Done(rows, digest) if digest.hexdigest() == state.sha256 else None

    def predict(self, chunks: Iterator[Chunk], spool: Spool, submit: Submit, depth: int) -> None:
        """Predict all chunks; at most `depth` are on their way at once.

        If one cannot be read, those before it are finished before its error is raised.
        """
        waiting: deque[tuple[Chunk, Future[Computed]]] = deque()
        failure: UserError | None = None
        ended = False
        while not ended or waiting:
            while not ended and len(waiting) < depth:
                try:
                    chunk = next(chunks, None)
                except UserError as error:
                    chunk, failure = None, error
                if chunk is None:
                    ended = True
                    break
                waiting.append((chunk, submit(chunk.rows, self._number(chunk))))
            if waiting:
                chunk, future = waiting.popleft()
                spool.append(chunk.rows, self.computer.finished(future.result()))
                self._count(chunk)
                self._tell(spool.done.rows, chunk.share)
        if failure is not None:
            raise failure

    def clipped_share(self) -> float | None:
        """The share of input values beyond the range; None where the range is not known."""
        if not self.computer.artefact.holds_model:
            return None
        return self.clipped / max(self.values, 1)

    def _number(self, chunk: Chunk) -> int:
        """The number of a chunk's first row."""
        first = self.first_row + chunk.start
        if first + len(chunk.rows) > MOST_ROW:
            raise first_row_error(self.first_row)
        return first

    def _count(self, chunk: Chunk) -> None:
        artefact = self.computer.artefact
        if artefact.holds_model:
            self.clipped += clipped_share(artefact.model, chunk.rows) * chunk.rows.size
            self.values += chunk.rows.size

    def _tell(self, rows: int, share: float) -> None:
        if self.progress is not None:
            about = max(rows, round(rows / share)) if share > 0 else rows
            self.progress("predicting", rows, self.count or about)
