"""Micro-batching: rows of several requests in one prediction, which changes no bit of any.

Each row keeps its id, so that its random numbers do not depend on the rows beside it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

Outputs = Mapping[str, NDArray[np.float32]]


class Predicting(Protocol):
    """A session that takes row ids: `qbnnc.runtime.load` or `qbnnc_onnx.load` makes one."""

    def predict(
        self,
        x: ArrayLike,
        samples: int | None = None,
        seed: int = 0,
        *,
        row_ids: ArrayLike | None = None,
    ) -> Outputs:
        """Samples [L, B, ...] and statistics [B, ...] by name."""


class QueueFull(Exception):
    """There are as many rows waiting as may wait: try again later."""


class Closed(Exception):
    """The service is stopping and takes no more requests."""


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """Rows [B, *shape] float32 with their ids [B] int64, and the seed that they ask for."""

    x: NDArray[np.float32]
    ids: NDArray[np.int64]
    seed: int
    answer: asyncio.Future[Outputs]


class Batcher:
    """Joins waiting requests of one seed. All methods belong to one event loop.

    Predictions run in a thread of their own, one at a time. Requests that arrive meanwhile wait,
    and the next prediction takes them together: nothing waits while the thread is idle.
    """

    def __init__(self, session: Predicting, *, batch_rows: int, queue_rows: int) -> None:
        """`batch_rows` are joined at most; `queue_rows` may wait, those in work not counted."""
        self._session, self._batch_rows, self._queue_rows = session, batch_rows, queue_rows
        self._waiting: list[Request] = []
        self._worker: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, "predict")
        self._closed = False
        self.predictions, self.requests = 0, 0

    @property
    def waiting_rows(self) -> int:
        """The rows that wait for a prediction."""
        return sum(len(request.x) for request in self._waiting)

    async def predict(self, x: NDArray[np.float32], ids: NDArray[np.int64], seed: int) -> Outputs:
        """The outputs for these rows; QueueFull or Closed if they cannot wait.

        What the session raises for this batch is raised here.
        """
        if self._closed:
            raise Closed
        if self._waiting and self.waiting_rows + len(x) > self._queue_rows:
            raise QueueFull
        answer = asyncio.get_running_loop().create_future()
        self._waiting.append(Request(x, ids, seed, answer))
        self.requests += 1
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return await answer

    async def close(self) -> None:
        """Take no more requests, answer those that wait, and end the thread."""
        self._closed = True
        if self._worker is not None:
            await self._worker
        self._thread.shutdown()

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            taken = self._take()
            try:
                made = await loop.run_in_executor(self._thread, self._run, taken)
            except Exception as error:  # each caller gets it: the worker goes on
                for request in taken:
                    if not request.answer.done():
                        request.answer.set_exception(error)
                continue
            for request, outputs in zip(taken, made, strict=True):
                if not request.answer.done():  # the caller may have gone
                    request.answer.set_result(outputs)

    def _take(self) -> list[Request]:
        """The first request, and those behind it that fit into its batch."""
        first, taken, left, rows = self._waiting[0], list[Request](), list[Request](), 0
        for request in self._waiting:
            fits = rows + len(request.x) <= self._batch_rows or request is first
            if request.answer.cancelled():
                continue
            if fits and request.seed == first.seed:
                taken.append(request)
                rows += len(request.x)
            else:
                left.append(request)
        self._waiting = left
        return taken

    def _run(self, taken: list[Request]) -> list[Outputs]:
        """Predict the rows of all requests at once; the outputs of each."""
        if not taken:
            return []
        self.predictions += 1
        x = np.concatenate([request.x for request in taken])
        ids = np.concatenate([request.ids for request in taken])
        made = self._session.predict(x, seed=taken[0].seed, row_ids=ids)
        ends = np.cumsum([len(request.x) for request in taken])
        return [_rows(made, int(e) - len(r.x), int(e)) for r, e in zip(taken, ends, strict=True)]


def _rows(outputs: Outputs, start: int, stop: int) -> Outputs:
    """The outputs of some rows: samples have them along the second axis."""
    return {
        name: array[:, start:stop] if name.startswith("samples") else array[start:stop]
        for name, array in outputs.items()
    }
