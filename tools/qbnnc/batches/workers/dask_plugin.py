"""The part that runs on Dask workers: each holds the work, also one that joins late."""

from __future__ import annotations

from threading import Lock

from distributed import WorkerPlugin, get_worker

from qbnnc.batches.computing import Computed, Computer, Float32, Work


class WorkPlugin(WorkerPlugin):
    """Holds the work on a worker, and opens its artefact when the first chunk comes."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self._computer: Computer | None = None
        self._opening: Lock | None = None

    def setup(self, worker: object) -> None:
        """Take a lock of this worker's own: locks do not travel."""
        self._opening = Lock()

    def computer(self) -> Computer:
        """The computer, opened once for all threads of the worker."""
        assert self._opening is not None
        with self._opening:
            if self._computer is None:
                self._computer = Computer.of(self.work)
            return self._computer


def compute_on_worker(name: str, rows: Float32, first_row: int) -> Computed:
    """Compute a chunk with the work of the plugin of this name."""
    plugin = get_worker().plugins[name]
    assert isinstance(plugin, WorkPlugin)
    return plugin.computer().compute_for(plugin.work, rows, first_row)
