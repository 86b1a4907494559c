"""Loading a compiled model, and predicting with it.

A prediction goes this way:

1. `Session.predict` checks the batch.
2. `jobs.prepare` splits the work into parts for the threads, once for each size of a prediction.
3. `kernels.interpreter.execute` runs the jobs of a part, each thread a part at a time.
4. `Prediction` holds the samples and their statistics.
"""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import ArrayLike

from qbnnc.ir import format
from qbnnc.ir.model import Model
from qbnnc.ir.types import Array, Stage
from qbnnc.runtime.arena import ArenaPool
from qbnnc.runtime.cache import kernels
from qbnnc.runtime.families.masked_layers.forms import MaskedForm
from qbnnc.runtime.jobs import Part, Prepared, Size, job, prepare, signed
from qbnnc.runtime.outputs import Float32, Outputs, complete, is_complete
from qbnnc.runtime.plan import new_arena, plan
from qbnnc.runtime.prediction import Prediction
from qbnnc.runtime.schedule import blocks, schedule
from qbnnc.runtime.summary import PlanSummary, summarize
from qbnnc.runtime.threads import Workers, physical_cores
from qbnnc.runtime.trunk import plan_members
from qbnnc.runtime.value_recorder import Recorder, real_values
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

MOST_PREPARED = 256  # sizes of predictions that are kept
SMALL = 256  # elements of a sample of the batch, up to which a kernel computes the statistics


def load(model: str | os.PathLike[str] | Model, threads: int | None = None) -> Session:
    """Load a compiled model (a `.qbnn` file, or a Model) and make it ready to predict.

    `threads` is how many cores a prediction may use; None takes all physical ones. No result
    depends on it. Small predictions use one core.

    Raises FileError for a file that is missing or damaged, or a model that is not compiled. Raises
    CompileError for a model with an op that this runtime has no kernel for.
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
    """A model that predicts. Any number of Python threads may use one Session at once."""

    def __init__(
        self,
        model: Model,
        path: object = "the model",
        threads: int | None = None,
        block_bytes: int | None = None,
        masked: MaskedForm | None = None,
    ) -> None:
        """Plan the model. `block_bytes` are in use at a time; None chooses them.

        `masked` is the form of layers under a dropout mask where it exists; None chooses it. No
        result depends on it, or on `block_bytes`.
        """
        if model.stage is not Stage.INTEGER:
            raise FileError(
                f"a model of stage {model.stage.name}, which has no integer program yet",
                path,
                remedy=f"compile it first: qbnnc compile {path} -o compiled.qbnn",
            )
        self.model = model
        self._ensemble = plan_members(model.members, model.draws, block_bytes, masked)
        self._plans = self._ensemble.members
        self._kernels, self._stochastic = kernels(), model.stochastic
        self._complete = all(map(is_complete, self._plans))
        self._prepared: dict[Size, Prepared] = {}
        self._arenas = ArenaPool()
        self._workers = Workers(
            physical_cores() if threads is None else as_count(threads, "threads", MOST_THREADS)
        )

    @property
    def samples(self) -> int:
        """The number of samples L of a prediction that asks for no other number."""
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
        """Compute samples and statistics for a batch x [B, *shape]; B may be 0.

        Args:
            x: real numbers, which are cast to float32.
            samples: L, a multiple of the members; None takes the model's own number.
            seed: any whole number, mod 2^64. The same seed gives the same bits.
            first_row: the number of the first row. With it a batch may be split without any effect.
            batch_size: rows at a time; no result depends on it. None chooses it.

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
        """Compute every value of one member, by its name in the IR: [L|1, B|1, *shape].

        Each value has its own dtype, and L counts the samples of this member. These are the values
        that `qbnnc.ir.evaluate` shows an observer. The input is not among them, and neither is what
        fusion removes: accumulators, and the noise of weights. All values are in memory at once, so
        that this is for small batches.
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
        out, recorder = outputs.allocate(), Recorder(kept, len(batch), draws, arena)
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
        """Describe the operations, their forms, and the bytes of arena and constants.

        `qbnnc inspect` prints this.
        """
        count = self._samples(samples)
        check_asked(as_count(batch, "batch", MOST_ROWS_AT_ONCE), count, 1, self._plans[0].size)
        return summarize(self._ensemble, member, batch, count, self._workers.threads)

    def peak_bytes(self, batch: int, samples: int | None = None) -> int:
        """Count the bytes that a prediction needs: constants, arenas, input and samples."""
        count = self.samples if samples is None else samples
        prepared = self._prepare(Size(batch, max(count, len(self._plans)), None))
        arenas = sorted(part.arena_bytes for part in prepared.parts)
        reals = batch * (self.model.graph.input.type.size + count * self._plans[0].size)
        return self._ensemble.constant_bytes + sum(arenas[-self._workers.threads :]) + 4 * reals

    def _samples(self, samples: int | None) -> int:
        """Return L; raise InputError if the model cannot give so many samples."""
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
        """Prepare predictions of a size, once; the last MOST_PREPARED sizes are kept."""
        if (found := self._prepared.get(size)) is None:
            if len(self._prepared) >= MOST_PREPARED:
                self._prepared = {}
            found = prepare(self._ensemble, size, self._workers.threads)
            self._prepared[size] = found
        return found

    def _run(
        self, prepared: Prepared, batch: Float32, numbers: tuple[int, int]
    ) -> tuple[Float32, ...]:
        """Run all parts of a prediction; return the samples of each output."""
        out, x = prepared.outputs.allocate(), _flat(batch)

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
        """Compute mean and variance of a small prediction with a kernel; None for others.

        In a small prediction numpy's calls would take longer than the network.
        """
        head, first = self.model.head, outputs[0]
        size = first[0].size
        if len(outputs) > 1 or size > SMALL or not head.moments_alone:
            return None
        names = head.statistic_names(1)
        made = np.empty((len(names), size), np.float32)
        self._kernels.moments(first.reshape(len(first), size), made)
        return dict(zip(names, made.reshape(len(names), *first.shape[1:]), strict=True))


def _numbers(seed: int, first_row: int) -> tuple[int, int]:
    """Return both numbers mod 2^64, as the kernels take them."""
    return signed(as_integer(seed, "seed")), signed(as_first_row(first_row))


def _flat(batch: Float32) -> Float32:
    """Return the batch as [elements], read-only: the one type that kernels are compiled for."""
    x = batch.reshape(-1)
    if x.flags.writeable:
        x.flags.writeable = False
    return x
