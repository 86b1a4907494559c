"""Running prepared predictions: arenas, threads, and what the kernels refuse."""

from __future__ import annotations

from collections.abc import Sequence

from qbnnc.runtime.arena import ArenaPool
from qbnnc.runtime.cache import Kernels
from qbnnc.runtime.jobs import Part, Prepared
from qbnnc.runtime.kernels.records import Status
from qbnnc.runtime.outputs import Float32, complete, is_complete
from qbnnc.runtime.plan import Plan
from qbnnc.runtime.threads import Workers
from qbnnc.support.errors import InputError
from qbnnc.support.inputs import nan_error


class Executor:
    """Runs predictions of one model. Any number of Python threads may use one at once."""

    def __init__(self, kernels: Kernels, plans: Sequence[Plan], threads: int) -> None:
        self.threads = threads
        self._execute, self._plans = kernels.execute, plans
        self._complete = all(map(is_complete, plans))
        self._arenas, self._workers = ArenaPool(), Workers(threads)

    def run(
        self, prepared: Prepared, batch: Float32, out: Float32, numbers: tuple[int, int]
    ) -> None:
        """Run all parts of a prediction on a batch [B, *shape]; `out` is flat.

        `numbers` are the seed and the number of the first row, mod 2^64. Raises InputError for NaN
        in the batch, and if `out` shares memory with it. Nothing is written then.
        """
        if len(prepared.parts) == 1:
            self._run_part(prepared.parts[0], batch, out, numbers)
        else:
            self._workers.run(
                prepared.parts, lambda part: self._run_part(part, batch, out, numbers)
            )
        if not self._complete:
            outputs = prepared.outputs.split(out)
            for member, plan in enumerate(self._plans):
                complete(plan, outputs, batch, member, len(self._plans))

    def _run_part(self, part: Part, batch: Float32, out: Float32, numbers: tuple[int, int]) -> None:
        """Run the jobs of a part in an arena of its own."""
        arena = self._arenas.take(part.arena_bytes)
        status = self._execute(part.jobs, *numbers, batch.ravel(), arena, out)
        self._arenas.give_back(arena)
        if status == Status.NAN:
            raise nan_error(batch)
        if status == Status.OVERLAP:
            raise InputError("it shares memory with the input", "out", "give an array of its own")
