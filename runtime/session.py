"""A model loaded and planned: what predicts."""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import ArrayLike

from qbnnc.ir import format
from qbnnc.ir.model import Model
from qbnnc.ir.types import Array, Stage
from qbnnc.runtime.cache import kernels
from qbnnc.runtime.jobs import Part, Prepared, Size, job, prepare, signed
from qbnnc.runtime.memory import ArenaPool
from qbnnc.runtime.outputs import Float32, Outputs, complete, is_complete
from qbnnc.runtime.plan import new_arena, plan
from qbnnc.runtime.prediction import Prediction
from qbnnc.runtime.schedule import blocks, schedule
from qbnnc.runtime.summary import PlanSummary, summarize
from qbnnc.runtime.threads import Workers, physical_cores
from qbnnc.runtime.trace import Recorder, real_values
from qbnnc.runtime.trunk import plan_members
from qbnnc.support.errors import FileError, InputError
from qbnnc.support.inputs import (
    MOST_ROWS_AT_ONCE,
    MOST_THREADS,
    as_batch,
    as_count,
    as_first_row,
    as_integer,
    check_asked,
)

MOST_PREPARED = 256
SMALL = 256  # elements of a sample of the batch


def load(model: str | os.PathLike[str] | Model, threads: int | None = None) -> Session:
    """A compiled model (a `.qbnn` file, or a Model), ready to predict.

    `threads`: how many cores a prediction may use, all physical ones if None; no result depends on
    it. Small predictions use one.

    Raises FileError for a file that is missing or damaged, or a model that is not compiled;
    CompileError for one with an op that this runtime has no kernel for.
    """
    path: object = "the model" if isinstance(model, Model) else model
    try:
        found = model if isinstance(model, Model) else format.load(model)
        return Session(found, path, threads)
    except MemoryError:
        raise FileError(
            "no memory to load and plan it", path, remedy="close other programs"
        ) from None


class Session:
    """Predicts with one model. Any number of Python threads may use one Session at once."""

    def __init__(
        self,
        model: Model,
        path: object = "the model",
        threads: int | None = None,
        block_bytes: int | None = None,
    ) -> None:
        """`block_bytes` in use at a time are chosen if None; they have no effect on a result."""
        if model.stage is not Stage.INTEGER:
            raise FileError(
                f"a model of stage {model.stage.name}, which has no integer program yet",
                path,
                remedy=f"compile it first: qbnnc compile {path} -o compiled.qbnn",
            )
        self.model = model
        self._every = plan_members(model.members, model.draws, block_bytes)
        self._plans = self._every.members
        self._kernels, self._stochastic = kernels(), model.stochastic
        self._complete = all(map(is_complete, self._plans))
        self._prepared: dict[Size, Prepared] = {}
        self._arenas = ArenaPool()
        self._workers = Workers(
            physical_cores() if threads is None else as_count(threads, "threads", MOST_THREADS)
        )

    @property
    def samples(self) -> int:
        """L when a prediction does not ask for another number."""
        return self.model.samples

    def __repr__(self) -> str:
        entry = self.model.graph.input.type
        return (
            f"Session({self.model.method}, input [batch, {', '.join(map(str, entry.shape))}], "
            f"{self.samples} samples, {len(self._plans[0].steps)} operations)"
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
        count, numbers = self._samples(samples), _numbers(seed, first_row)
        check_asked(len(batch), count, len(self._plans), self._plans[0].size)
        chunk = None
        if batch_size is not None:
            chunk = min(as_count(batch_size, "batch_size", MOST_ROWS_AT_ONCE), max(len(batch), 1))
        try:
            prepared = self._prepare(Size(len(batch), count, chunk))
            outputs = self._run(prepared, batch, numbers)
        except MemoryError:
            raise InputError(
                f"no memory for {len(batch)} rows and {count} samples at once",
                remedy="take fewer samples or rows, or fewer rows at a time (batch_size)",
            ) from None
        return Prediction(self.model.head, outputs, self._statistics(outputs))

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
        members, numbers = len(self.model.members), _numbers(seed, first_row)
        draws = self._samples(samples) // members
        check_asked(len(batch), draws * members, members, self._plans[0].size)
        if not 0 <= as_integer(member, "member") < members:
            raise InputError(f"{member}, and the members are {members}", place="member")
        graph = self.model.members[member]
        kept, chunk = plan(graph, draws=self.model.draws, reuse=False), max(1, len(batch))
        arena, outputs = new_arena(kept, chunk), Outputs(kept, len(batch), draws * members)
        out, recorder = outputs.room(), Recorder(kept, len(batch), draws, arena)
        every = kept, range(len(batch)), range(draws), chunk
        table, size = schedule(*every), (member, members, len(batch), draws * members)
        for i, block in enumerate(blocks(*every)):
            row = np.array([job(kept, table[i : i + 1], *size)], np.int64)
            self._kernels.execute(row, *numbers, _flat(batch), arena, out)
            recorder(block)
        made = outputs.split(out)
        complete(kept, made, batch, member, members)
        mine = tuple(output[member::members] for output in made)
        return recorder.values | real_values(graph, mine)

    def plan_summary(
        self, member: int = 0, batch: int = 1, samples: int | None = None
    ) -> PlanSummary:
        """Operations, their forms, and the bytes of arena and constants, for `qbnnc inspect`."""
        count = self._samples(samples)
        check_asked(as_count(batch, "batch", MOST_ROWS_AT_ONCE), count, 1, self._plans[0].size)
        return summarize(self._every, member, batch, count, self._workers.threads)

    def peak_bytes(self, batch: int, samples: int | None = None) -> int:
        """Bytes that a prediction's program needs: constants, arena, input and samples."""
        count = self.samples if samples is None else samples
        prepared = self._prepare(Size(batch, max(count, len(self._plans)), None))
        arenas = sorted(part.arena_bytes for part in prepared.parts)
        reals = batch * (self.model.graph.input.type.size + count * self._plans[0].size)
        return self._every.constant_bytes + sum(arenas[-self._workers.threads :]) + 4 * reals

    def _samples(self, samples: int | None) -> int:
        """L; InputError if the model cannot give so many."""
        members = len(self.model.members)
        count = self.samples if samples is None else as_integer(samples, "samples")
        if not self._stochastic and count != members:
            raise InputError(
                f"{count}, but nothing is random here: there is one sample of each of the "
                f"{members} network(s)",
                place="samples",
                remedy="leave samples out",
            )
        if count < 1 or count % members:
            raise InputError(
                f"{count}",
                place="samples",
                remedy=f"take a positive multiple of the {members} ensemble member(s)",
            )
        return count

    def _prepare(self, size: Size) -> Prepared:
        """Made once for each size; the last few are kept."""
        if (found := self._prepared.get(size)) is None:
            if len(self._prepared) >= MOST_PREPARED:
                self._prepared = {}
            found = prepare(self._every, size, self._workers.threads)
            self._prepared[size] = found
        return found

    def _run(
        self, prepared: Prepared, batch: Float32, numbers: tuple[int, int]
    ) -> tuple[Float32, ...]:
        out, x = prepared.outputs.room(), _flat(batch)

        def work(part: Part) -> None:
            arena = self._arenas.take(part.arena_bytes)
            try:
                self._kernels.execute(part.jobs, *numbers, x, arena, out)
            finally:
                self._arenas.give_back(arena)

        self._workers.run(prepared.parts, work)
        outputs = prepared.outputs.split(out)
        if not self._complete:
            for member, its_plan in enumerate(self._plans):
                complete(its_plan, outputs, batch, member, len(self._plans))
        return outputs

    def _statistics(self, outputs: tuple[Float32, ...]) -> dict[str, Float32] | None:
        """Of a small prediction, for which numpy's calls would take longer than the network."""
        head, first = self.model.head, outputs[0]
        size = first[0].size
        if len(outputs) > 1 or size > SMALL or not head.moments_alone:
            return None
        names = head.statistic_names(1)
        made = np.empty((len(names), size), np.float32)
        self._kernels.moments(first.reshape(len(first), size), made)
        return dict(zip(names, made.reshape(len(names), *first.shape[1:]), strict=True))


def _numbers(seed: int, first_row: int) -> tuple[int, int]:
    """Both mod 2^64, as the kernels take them."""
    return signed(as_integer(seed, "seed")), signed(as_first_row(first_row))


def _flat(batch: Float32) -> Float32:
    """[elements], as the kernels take it: they are compiled for one type of each argument."""
    x = batch.reshape(-1)
    if x.flags.writeable:
        x.flags.writeable = False
    return x
