"""Chunks on the workers of a Dask cluster (the extra `distributed`)."""

from __future__ import annotations

import logging
import re
import secrets
import warnings
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qbnnc.batches.computing import Computed, Float32, Work
from qbnnc.batches.workers.pool import Submit
from qbnnc.support.errors import UserError
from qbnnc.support.extras import require

if TYPE_CHECKING:
    from distributed import Client
    from distributed import Future as DaskFuture

_LOG = logging.getLogger("qbnnc")
_CONNECT_SECONDS = 5
_SOON_SECONDS = 2  # until it is said that there are no workers yet
_MOST_DEPTH = 64
_EXAMPLE = "tcp://host:8786"
_ADDRESS = re.compile(r"(?:\w+://)?[^/\s:]+:\d{1,5}|(?:\w+://)?\[[0-9a-fA-F:.]+\]:\d{1,5}")


@dataclass(frozen=True, slots=True)
class Cluster:
    """The workers of a Dask scheduler, which need this version of qbnnc, and no files.

    Dask computes the chunks of a worker that is lost on another one. Workers may come and go.
    The log of qbnnc has a warning while there are none.
    """

    address: str
    wait_seconds: float = 60
    depth: int = _MOST_DEPTH

    def check_address(self) -> None:
        """UserError, before any work, for an address without a port."""
        require("distributed", what="`scheduler`")
        if not _ADDRESS.fullmatch(self.address):
            raise self._error("an address has a host and a port", f"write such as {_EXAMPLE}")

    def open(self, work: Work) -> Iterator[Submit]:
        """Connect, wait for a worker, and hand the work to all of them, also to later ones."""
        self.check_address()
        from qbnnc.batches.workers.dask_plugin import WorkPlugin, compute_on_worker

        name = f"qbnnc-{secrets.token_hex(8)}"
        with self._client() as client, ThreadPoolExecutor(_MOST_DEPTH) as threads:
            self._await_workers(client)
            client.register_plugin(WorkPlugin(work), name=name)
            submitted: list[DaskFuture[Computed]] = []

            def submit(rows: Float32, first_row: int) -> Future[Computed]:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # a chunk in a graph is large, and meant to be
                    future = client.submit(compute_on_worker, name, rows, first_row, pure=False)
                submitted.append(future)
                return threads.submit(self._result, future)

            try:
                yield submit
            finally:
                client.cancel([each for each in submitted if not each.done()], force=True)
                client.unregister_worker_plugin(name)

    def _await_workers(self, client: Client) -> None:
        """Wait for the first worker; UserError if none joins."""
        try:
            client.wait_for_workers(1, timeout=min(_SOON_SECONDS, self.wait_seconds))
        except TimeoutError:
            _LOG.warning(
                "no worker has joined %s yet: waiting for %g s", self.address, self.wait_seconds
            )
            try:
                client.wait_for_workers(1, timeout=max(self.wait_seconds - _SOON_SECONDS, 0.1))
            except TimeoutError:
                raise self._error(
                    f"no worker joined it within {self.wait_seconds:g} s",
                    f"start some: dask worker {self.address} --nthreads 1",
                ) from None

    def _result(self, future: DaskFuture[Computed]) -> Computed:
        """The chunk; UserError if the workers cannot compute it."""
        try:
            computed = future.result()
            assert isinstance(computed, Computed)
            return computed
        except UserError:
            raise
        except Exception as error:  # whatever a worker without the package, or a lost one, gives
            line = (str(error).splitlines() or [type(error).__name__])[0]
            raise self._error(
                f"a worker failed ({type(error).__name__}: {line})",
                "install the same qbnnc on all workers, and look at their logs",
            ) from None

    @contextmanager
    def _client(self) -> Iterator[Client]:
        """Connect to the scheduler; UserError if nobody answers."""
        from distributed import Client

        address = self.address if "://" in self.address else f"tcp://{self.address}"
        try:
            client = Client(address, timeout=_CONNECT_SECONDS, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:
            line = (str(error).splitlines() or [type(error).__name__])[0]
            raise self._error(
                f"no Dask scheduler answers ({line})", f"is it there? write such as {_EXAMPLE}"
            ) from None
        with client:
            yield client

    def _error(self, message: str, remedy: str) -> UserError:
        return UserError(message, f"`scheduler='{self.address}'`", remedy)
