"""Fine-tune a Model: every member on its own, the best of each kept."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from qbnnc.backends.torch.simulation import with_member
from qbnnc.backends.torch.training.loop import Diverged, Examples, MemberTuning
from qbnnc.backends.torch.training.losses import check_loss, task_for
from qbnnc.backends.torch.training.settings import Progress, Tell, Training
from qbnnc.backends.torch.training.state import TuningState
from qbnnc.ir import format
from qbnnc.ir.graph import Graph
from qbnnc.ir.model import Model
from qbnnc.passes.base import run_passes
from qbnnc.passes.fusion.noise import ShareMasks
from qbnnc.passes.head.assign_head import fitted_by_targets, with_head
from qbnnc.passes.options import MaskSharing
from qbnnc.passes.pipeline import Options, simulate_model
from qbnnc.passes.ranges.calibrate import calibration_of
from qbnnc.support.errors import InputError
from qbnnc.support.inputs import as_batch
from qbnnc.support.text import counted

Rows = NDArray[np.float32]
Labels = NDArray[np.float32] | NDArray[np.int64]


def finetune(
    model: Model,
    x: Rows,
    y: Labels | None,
    options: Options,
    training: Training,
    *,
    validation: tuple[Rows, Labels | None] | None = None,
    version: str = "",
    tell: Tell | None = None,
) -> Model:
    """The SIMULATED Model that fine-tuning makes of a FLOAT one; `lower_model` makes it INTEGER.

    `x` is [N, *shape]. `y` holds labels i64 [N] or targets f32 [N, ...], unless the loss is MATCH.
    `validation` is such a pair (None: rows held out). The model's calibration rows give the first
    ranges. Each member is the best of all validations, the one before the first step included.
    Raises UserError (InputError, CompileError) where these do not fit.
    """
    tuning = FineTuning(model, x, y, options, training, validation=validation, version=version)
    tuning.run(tell)
    return tuning.best


class FineTuning:
    """A fine-tuning under way: `best` is there at any time, also after a KeyboardInterrupt."""

    def __init__(
        self,
        model: Model,
        x: Rows,
        y: Labels | None,
        options: Options,
        training: Training,
        *,
        validation: tuple[Rows, Labels | None] | None = None,
        version: str = "",
        device: str = "cpu",
    ) -> None:
        """See `finetune`; the calibration is done here."""
        check_loss(training.loss, model)
        task = task_for(training.loss, model) if options.task is None else options.task
        if training.loss.needs_labels:  # which have the shape of its first output
            model = fitted_by_targets(model)
        model, options = with_head(model, task), replace(options, task=task)
        self._shared = options.quantisation.mask_sharing is MaskSharing.BATCH
        self._model, self._training, self._device = model, training, torch.device(device)
        self._examples, self._validation = self._split(x, y, validation)
        start = simulate_model(model, calibration_of(model), options, version=version)
        provenance = replace(start.provenance, training=f"{training}, {counted(len(x), 'row')}")
        self._start = self.best = replace(start, provenance=provenance)
        self.digest = self._digest(start)
        self._begin = 0
        self._resumed: TuningState | None = None

    def resume(self, path: Path) -> None:
        """Go on from the state in a file; FileError if it is of another fine-tuning."""
        self._resumed = TuningState.load(path, self.digest)
        self.best, self._begin = self._resumed.best, self._resumed.member

    def run(self, tell: Tell | None = None, state: Path | None = None) -> None:
        """Run to the end; `state` is written after each validation, and removed when all is done.

        Diverged if the loss is not finite: `state` is removed then too, and `best` stays.
        """
        try:
            for number in range(self._begin, len(self._model.members)):
                self._run_member(number, tell, state)
        except Diverged:
            _remove(state)
            raise
        _remove(state)

    def _run_member(self, number: int, tell: Tell | None, state: Path | None) -> None:
        loop = MemberTuning(
            self._teacher(number),
            self._start,
            number,
            self._training,
            self._examples,
            self._validation,
        )
        resumed = self._resumed
        if resumed is not None and resumed.member == number and resumed.loop is not None:
            loop.restore(resumed.loop)
            assert resumed.least is not None
            least = resumed.least
        else:
            least = loop.validate()
            self._tell(tell, loop, number, None, least, least)
        while loop.step < loop.steps:
            loss = loop.advance(loop.report_every)
            value = loop.validate()
            if value < least:
                least = value
                self.best = with_member(self.best, number, loop.simulation.graph())
            self._tell(tell, loop, number, loss, value, least)
            if state is not None:
                TuningState(self.digest, self.best, number, least, loop.state()).save(state)

    def _teacher(self, number: int) -> Graph:
        """The float member with the outputs and masks that its simulation has."""
        return run_passes(self._model.members[number], (ShareMasks(self._shared),))

    def _tell(
        self,
        tell: Tell | None,
        loop: MemberTuning,
        number: int,
        loss: float | None,
        value: float,
        least: float,
    ) -> None:
        if tell is not None:
            members = len(self._model.members)
            tell(Progress(number, members, loop.step, loop.steps, loss, value, least))

    def _split(
        self, x: Rows, y: Labels | None, validation: tuple[Rows, Labels | None] | None
    ) -> tuple[Examples, Examples]:
        """Examples to learn from, and to validate on: held out by the seed where none are given."""
        batch = as_batch(x, self._model.graph.input.type.shape, "the training data")
        if self._training.loss.needs_labels and y is None:
            raise InputError(
                "the data has no labels",
                place=f"`loss` {self._training.loss.value}",
                remedy="give them, or use match",
            )
        if validation is not None:
            if len(batch) == 0:
                raise InputError("no rows", place="the training data", remedy="give 2 or more")
            return self._examples_of(batch, y), self._examples_of(*validation)
        if len(batch) < 2:
            raise InputError(
                f"{counted(len(batch), 'row')}",
                place="the training data",
                remedy="fine-tuning needs 2 or more, as one is held out for validation",
            )
        held = min(len(batch) - 1, max(1, round(len(batch) * self._training.held_out)))
        order = np.random.default_rng(self._training.seed).permutation(len(batch))
        parts = (
            self._examples_of(batch[rows], None if y is None else y[rows])
            for rows in (np.sort(order[held:]), np.sort(order[:held]))
        )
        learn, validate = parts
        return learn, validate

    def _examples_of(self, x: Rows, y: Labels | None) -> Examples:
        labels = y if self._training.loss.needs_labels else None
        return Examples(
            torch.from_numpy(np.ascontiguousarray(x)).to(self._device),
            None if labels is None else torch.from_numpy(np.asarray(labels)).to(self._device),
        )

    def _digest(self, start: Model) -> str:
        """The digest of all that decides the result."""
        sha = hashlib.sha256(repr(self._training).encode())
        sha.update(format.digest(start).encode())
        for part in (self._examples, self._validation):
            for tensor in (part.x, part.y):
                if tensor is not None:
                    sha.update(tensor.cpu().numpy().tobytes())
        return sha.hexdigest()


def _remove(state: Path | None) -> None:
    if state is not None:
        state.unlink(missing_ok=True)
