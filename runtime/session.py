"""A model loaded and planned: what predicts."""

from __future__ import annotations

import os
from dataclasses import replace

from numpy.typing import ArrayLike

from qbnnc.ir import format
from qbnnc.ir.errors import FileError, InputError
from qbnnc.ir.inputs import as_batch, as_integer
from qbnnc.ir.model import Model
from qbnnc.ir.types import Array, Stage
from qbnnc.runtime.cache import interpreter
from qbnnc.runtime.execute import Float32, Request, Schedule, blocks, execute, schedule
from qbnnc.runtime.memory import ArenaPool
from qbnnc.runtime.outputs import complete, room_for, split
from qbnnc.runtime.plan import Plan, new_arena, plan
from qbnnc.runtime.prediction import Prediction
from qbnnc.runtime.summary import PlanSummary, summarize
from qbnnc.runtime.threads import Task, Workers, physical_cores
from qbnnc.runtime.threads import split as split_work
from qbnnc.runtime.trace import Recorder, real_values

CHUNK_BYTES = 8 << 20  # of what the prefix leaves to the suffix, for all rows of a chunk

MOST_SCHEDULES = 256


def load(model: str | os.PathLike[str] | Model, threads: int | None = None) -> Session:
    """A compiled model (a `.qbnn` file, or a Model), ready to predict.

    `threads`: how many cores a prediction may use, all physical ones if None; no result depends on
    it. Small predictions use one.

    Raises FileError for a file that is missing or damaged, or a model that is not compiled;
    CompileError for one with an op that this runtime has no kernel for.
    """
    if isinstance(model, Model):
        return Session(model, "the model", threads)
    return Session(format.load(model), model, threads)


class Session:
    """Predicts with one model. Any number of Python threads may use one Session at once."""

    def __init__(
        self, model: Model, path: object = "the model", threads: int | None = None
    ) -> None:
        if model.stage is not Stage.INTEGER:
            raise FileError(
                f"a model of stage {model.stage.name}, which has no integer program yet; compile "
                f"it first: qbnnc compile {path} -o compiled.qbnn",
                path,
            )
        self.model = model
        self._plans = tuple(plan(member, draws=model.draws) for member in model.members)
        self._run, self._stochastic = interpreter(), model.stochastic
        self._schedules: dict[tuple[Plan, range, range, int], Schedule] = {}
        self._arenas = ArenaPool()
        self._workers = Workers(physical_cores() if threads is None else _positive(threads))

    @property
    def samples(self) -> int:
        """L when a prediction does not ask for another number."""
        return self.model.samples

    def __repr__(self) -> str:
        entry, summary = self.model.graph.input.type, self.plan_summary()
        return (
            f"Session({self.model.method}, input [batch, {', '.join(map(str, entry.shape))}], "
            f"{self.samples} samples, {len(summary.operations)} operations)"
        )

    def predict(
        self,
        x: ArrayLike,
        samples: int | None = None,
        seed: int = 0,
        first_row: int = 0,
        batch_size: int | None = None,
    ) -> Prediction:
        """Samples and statistics for a batch x [B, *shape]; B may be 0.

        Args:
            x: real numbers; cast to float32.
            samples: L, a multiple of the members; the model's own number if None.
            seed: any whole number, mod 2^64. The same seed gives the same bits.
            first_row: the number of the first row: a batch may be split without any effect.
            batch_size: rows at a time; has no effect on the result. Chosen if None.

        Raises InputError for data or numbers that do not fit the model.
        """
        batch = as_batch(x, self.model.graph.input.type.shape)
        request = self._request(batch, samples, seed, first_row)
        chunk = None if batch_size is None else as_integer(batch_size, "batch_size")
        if chunk is not None and chunk < 1:
            raise InputError(f"batch_size: {chunk} rows at a time; it must be at least 1")
        return Prediction(self.model.head, self._samples(request, chunk))

    def trace(
        self,
        x: ArrayLike,
        samples: int | None = None,
        seed: int = 0,
        first_row: int = 0,
        member: int = 0,
    ) -> dict[str, Array]:
        """Every value of one member by its name in the IR: [L|1, B|1, *shape], in its own dtype.

        What `qbnnc.ir.evaluate` shows an observer, but for the input and for what fusion has
        removed: accumulators, and the noise of weights. L counts this member's samples. Keeps all
        values: for small batches.
        """
        batch = as_batch(x, self.model.graph.input.type.shape)
        request = self._request(batch, samples, seed, first_row)
        if not 0 <= as_integer(member, "member") < len(self.model.members):
            raise InputError(f"member: {member}, and the members are {len(self.model.members)}")
        request = replace(request, member=member)
        graph = self.model.members[member]
        kept, chunk = plan(graph, draws=self.model.draws, reuse=False), max(1, len(batch))
        arena, out = new_arena(kept, chunk), room_for(kept, request)
        recorder = Recorder(kept, request, arena)
        every = kept, range(len(batch)), range(request.draws), chunk
        table = schedule(*every)
        for i, block in enumerate(blocks(*every)):
            execute(self._run, kept, request, table[i : i + 1], arena, out)
            recorder(block)
        outputs = split(kept, request, out)
        complete(kept, request, outputs)
        return recorder.values | real_values(graph, request, outputs)

    def plan_summary(self, member: int = 0) -> PlanSummary:
        """Operations, and the bytes of arena and constants, for `inspect`."""
        return summarize(self._plans[member])

    def peak_bytes(self, batch: int, samples: int | None = None) -> int:
        """Bytes that a prediction's program needs: constants, arena, input and samples."""
        count = self.samples if samples is None else samples
        constants = sum(p.constants.nbytes for p in self._plans)
        draws, threads = max(1, count // len(self._plans)), self._workers.threads
        arenas = sorted(
            self._plans[t.member].arena_bytes(_chunk(self._plans[t.member], len(t.rows)))
            for t in split_work(self._plans, batch, draws, threads)
        )
        reals = batch * (self.model.graph.input.type.size + count * self._plans[0].size)
        return constants + sum(arenas[-threads:]) + 4 * reals

    def _request(self, batch: Float32, samples: int | None, seed: int, first_row: int) -> Request:
        members = len(self.model.members)
        count = self.samples if samples is None else as_integer(samples, "samples")
        if not self._stochastic and count != members:
            raise InputError(
                f"samples: {count}, but nothing is random here: there is one sample of each of "
                f"the {members} network(s); leave samples out"
            )
        if count < 1 or count % members:
            raise InputError(
                f"samples: {count}; take a positive multiple of the {members} ensemble member(s)"
            )
        row = as_integer(first_row, "first_row")
        if row < 0:
            raise InputError(f"first_row: {row}; rows are numbered from 0")
        return Request(batch, count // members, as_integer(seed, "seed"), row, 0, members)

    def _schedule(self, task: Task, chunk: int) -> Schedule:
        """Made once for each size of batch; the few last ones are kept."""
        key = self._plans[task.member], task.rows, task.draws, chunk
        if (found := self._schedules.get(key)) is None:
            if len(self._schedules) >= MOST_SCHEDULES:
                self._schedules = {}
            found = self._schedules[key] = schedule(*key)
        return found

    def _samples(self, request: Request, batch_size: int | None) -> tuple[Float32, ...]:
        plans, batch = self._plans, len(request.x)
        out = room_for(plans[0], request)

        def work(task: Task) -> None:
            its_plan = plans[task.member]
            most = max(1, len(task.rows))
            chunk = min(batch_size or _chunk(its_plan, most), most)
            table = self._schedule(task, chunk)
            with self._arenas.take(its_plan.arena_bytes(chunk)) as arena:
                execute(self._run, its_plan, request.of(task.member), table, arena, out)

        self._workers.run(split_work(plans, batch, request.draws, self._workers.threads), work)
        outputs = split(plans[0], request, out)
        for member, its_plan in enumerate(plans):
            complete(its_plan, request.of(member), outputs)
        return outputs


def _chunk(plan: Plan, rows: int) -> int:
    """Rows at a time, so that what the prefix leaves to the suffix stays within CHUNK_BYTES."""
    most = CHUNK_BYTES // max(1, plan.arena.record_bytes)
    return max(1, min(rows, most))


def _positive(threads: int) -> int:
    if as_integer(threads, "threads") < 1:
        raise InputError(f"threads: {threads}; there must be 1 or more")
    return int(threads)
