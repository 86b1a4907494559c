"""Loading a compiled model, and predicting with it.

A prediction goes this way:

1. `Session.predict` checks the batch.
2. `jobs.prepare` splits the work into parts for the threads, once for each size of a prediction.
3. `execution.Executor` runs the jobs of each part, each thread a part at a time.
4. `Prediction` holds the samples and their statistics.
"""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import ArrayLike

from qbnnc.ir import format
from qbnnc.ir.ids import rows_taken_by
from qbnnc.ir.model import Model
from qbnnc.ir.types import Array, Stage
from qbnnc.runtime.buffers import (
    expect_fillable,
    is_fillable,
    is_readable,
    samples_in,
    shape_of_out,
)
from qbnnc.runtime.cache import kernels
from qbnnc.runtime.execution import Executor
from qbnnc.runtime.families.masked_layers.forms import MaskedForm
from qbnnc.runtime.jobs import Prepared, Size, prepare
from qbnnc.runtime.native_call import NativeCall, native_call
from qbnnc.runtime.numbered_rows import (
    draws_by_row,
    fill,
    no_memory,
    numbering,
)
from qbnnc.runtime.outputs import Float32, Outputs
from qbnnc.runtime.prediction import Prediction
from qbnnc.runtime.sample_count import sample_count
from qbnnc.runtime.stream import Stream
from qbnnc.runtime.summary import PlanSummary, summarize
from qbnnc.runtime.threads import physical_cores
from qbnnc.runtime.trunk import plan_members
from qbnnc.runtime.value_recorder import recorded
from qbnnc.support.errors import FileError, InputError
from qbnnc.support.frames import index_of
from qbnnc.support.inputs import (
    MOST_ROWS_AT_ONCE,
    MOST_THREADS,
    as_count,
    as_integer,
    check_asked,
)
from qbnnc.support.several_inputs import Arrays, shapes

MOST_PREPARED = 256  # sizes of predictions that are kept


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
        self._by_row = any(map(draws_by_row, model.members))
        self._rows = rows_taken_by(model.graph)
        outputs = len(model.graph.outputs)
        self._names = model.head.sample_names(outputs) + model.head.statistic_names(outputs)
        self._prepared: dict[Size, Prepared] = {}
        self._fitting: dict[tuple[tuple[int, ...], tuple[int, ...]], Prepared] = {}
        count = physical_cores() if threads is None else as_count(threads, "threads", MOST_THREADS)
        self._executor = Executor(self._kernels, self._plans, count)

    @property
    def samples(self) -> int:
        """The number of samples L of a prediction that asks for no other number."""
        return self.model.samples

    def __repr__(self) -> str:
        return (
            f"Session({self.model.method}, input {shapes(self._rows.entries)}, "
            f"{self.samples} samples, {len(self._plans[0].steps)} operations)"
        )

    def predict(
        self,
        x: Arrays,
        samples: int | None = None,
        seed: int = 0,
        first_row: int = 0,
        batch_size: int | None = None,
        row_ids: ArrayLike | None = None,
    ) -> Prediction:
        """Compute samples and statistics for a batch x [B, *shape]; B may be 0.

        Args:
            x: real numbers, which are cast to float32; or a data frame of numeric columns. A
                network of several inputs takes a dict of arrays by their names, a tuple of arrays
                in their order, or one array [B, N] of all of them one after another.
            samples: L, a multiple of the members; None takes the model's own number.
            seed: any whole number, mod 2^64. The same seed gives the same bits.
            first_row: the number of the first row; it lets a batch be split without any effect.
                Rows one by one without it all draw row 0's masks: use `stream`.
            batch_size: rows at a time; no result depends on it. None chooses it.
            row_ids: the numbers of the rows [B], 0 or more, in place of `first_row`. Rows may have
                them in any order, and equal ones share random numbers. It is fastest if they
                count up by one.

        Raises InputError for data or numbers that do not fit the model.
        """
        batch, count = self._rows.read(x), self._samples(samples)
        self._rows.check(batch)
        rows = len(batch)
        numbers = numbering(seed, first_row, row_ids, rows, by_row=self._by_row)
        chunk = None
        if batch_size is not None:
            chunk = min(as_count(batch_size, "batch_size", MOST_ROWS_AT_ONCE), max(rows, 1))
        check_asked(rows, count, len(self._plans), self._plans[0].size)
        try:
            prepared = self._prepare(Size(rows, count, chunk))
            out = prepared.outputs.allocate()
            fill(self._executor.run, self._prepare, prepared, batch, out, numbers, chunk)
        except MemoryError:
            raise no_memory(rows, count) from None
        outputs = prepared.outputs.split(out)
        return Prediction(self.model.head, self._names, outputs, self._kernels.moments, index_of(x))

    def predict_into(
        self,
        x: Arrays,
        out: Float32,
        seed: int = 0,
        first_row: int = 0,
        row_ids: ArrayLike | None = None,
    ) -> None:
        """Write the samples of a batch x [B, *shape] to `out`, without statistics.

        This is `predict` with the least work around it: buffers and plans are reused, and a small
        prediction makes one native call. The samples have the bits of `predict`.

        Args:
            x: as for `predict`; a C-contiguous float32 array is read in place.
            out: float32 in native order, C-contiguous, aligned and writeable. A network of one
                output takes [L, B, *shape]. A network of several takes [L * B * n], all elements of
                the first output, then those of the next. L is a number of samples that `predict`
                takes. `new_out` makes such an array, and `outputs_in` shows the outputs in it.
            seed: as for `predict`.
            first_row: as for `predict`.
            row_ids: as for `predict`.

        Raises InputError if x, `out` or a number does not fit, if `out` shares memory with x, and
        for NaN in x. Nothing is written then.
        """
        batch = x if is_readable(x) else self._rows.read(x)
        if self._rows.ids is not None:
            self._rows.check(self._rows.read(batch))
        if not is_fillable(out):
            out = expect_fillable(out)
        prepared = self._fitting.get((batch.shape, out.shape)) or self._fit(batch, out)
        numbers = numbering(seed, first_row, row_ids, len(batch), by_row=self._by_row)
        try:
            fill(self._executor.run, self._prepare, prepared, batch, out.ravel(), numbers)
        except MemoryError:
            raise no_memory(len(batch), prepared.outputs.samples) from None

    def stream(self, seed: int = 0, samples: int | None = None, first_row: int = 0) -> Stream:
        """Begin predictions of rows that come in parts, each row with random numbers of its own.

        The arguments are those of `predict`; InputError if one does not fit.
        """
        return Stream(self, self._rows, self._samples(samples), seed, first_row)

    def new_out(self, rows: int, samples: int | None = None) -> Float32:
        """Allocate an array for `predict_into`, for batches of `rows` rows; it is not cleared."""
        rows, count = as_count(rows, "rows", MOST_ROWS_AT_ONCE), self._samples(samples)
        check_asked(rows, count, len(self._plans), self._plans[0].size)
        return np.empty(shape_of_out(self._plans[0], rows, count), np.float32)

    def outputs_in(self, out: Float32, rows: int) -> dict[str, Float32]:
        """Return views [L, rows, *shape] of an array that `predict_into` takes, by output name."""
        count = samples_in(out, self._plans[0], rows, len(self._plans))
        views = Outputs(self._plans[0], rows, count).split(out.reshape(-1))
        return dict(zip(self._names, views, strict=False))

    def native_call(self, rows: int, samples: int | None = None) -> NativeCall:
        """Prepare predictions of `rows` rows for callers in C; see `NativeCall`.

        Raises InputError for numbers that do not fit, and for a network with outputs of which
        Python makes copies.
        """
        rows, count = as_count(rows, "rows", MOST_ROWS_AT_ONCE), self._samples(samples)
        check_asked(rows, count, len(self._plans), self._plans[0].size)
        prepared = prepare(self._ensemble, Size(rows, count, None), threads=1)
        return native_call(self._kernels, prepared, rows * self.model.graph.input.type.size)

    def trace(
        self,
        x: Arrays,
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
        batch, members = self._rows.of(x), len(self.model.members)
        draws = self._samples(samples) // members
        numbers = numbering(seed, first_row, None, len(batch), by_row=self._by_row).counted
        check_asked(len(batch), draws * members, members, self._plans[0].size)
        if not 0 <= as_integer(member, "member") < members:
            raise InputError(f"{member}, and the members are {members}", place="member")
        return recorded(self._kernels.execute, self.model, member, batch, draws, numbers)

    def plan_summary(
        self, member: int = 0, batch: int = 1, samples: int | None = None
    ) -> PlanSummary:
        """Describe the operations, their forms, and the bytes of arena and constants."""
        count = self._samples(samples)
        check_asked(as_count(batch, "batch", MOST_ROWS_AT_ONCE), count, 1, self._plans[0].size)
        return summarize(self._ensemble, member, batch, count, self._executor.threads)

    def peak_bytes(self, batch: int, samples: int | None = None) -> int:
        """Count the bytes that a prediction needs: constants, arenas, input and samples."""
        count = self.samples if samples is None else samples
        prepared = self._prepare(Size(batch, max(count, len(self._plans)), None))
        arenas = sorted(part.arena_bytes for part in prepared.parts)
        reals = batch * (self.model.graph.input.type.size + count * self._plans[0].size)
        return self._ensemble.constant_bytes + sum(arenas[-self._executor.threads :]) + 4 * reals

    def _samples(self, samples: int | None) -> int:
        """Return L; raise InputError if the model cannot give so many samples."""
        members = len(self.model.members)
        return sample_count(samples, self.samples, members, stochastic=self._stochastic)

    def _prepare(self, size: Size) -> Prepared:
        """Prepare predictions of a size, once; the last MOST_PREPARED sizes are kept."""
        if (found := self._prepared.get(size)) is None:
            if len(self._prepared) >= MOST_PREPARED:
                self._prepared = {}
            found = prepare(self._ensemble, size, self._executor.threads)
            self._prepared[size] = found
        return found

    def _fit(self, batch: Float32, out: Float32) -> Prepared:
        """Prepare predictions into arrays of these shapes; InputError if the shapes do not fit."""
        rows, members = len(self._rows.read(batch)), len(self._plans)
        count = self._samples(samples_in(out, self._plans[0], rows, members))
        check_asked(rows, count, members, self._plans[0].size)
        if len(self._fitting) >= MOST_PREPARED:
            self._fitting = {}
        found = self._prepare(Size(rows, count, None))
        self._fitting[batch.shape, out.shape] = found
        return found
