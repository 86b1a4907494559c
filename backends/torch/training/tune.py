"""Fine-tune a Model: every member on its own, the best of each kept."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from qbnnc.backends.torch.simulation import with_member
from qbnnc.backends.torch.training.loop import Diverged, Job, teacher_of
from qbnnc.backends.torch.training.losses import check_loss, compared_head, loss_title, task_for
from qbnnc.backends.torch.training.member import MemberTuning
from qbnnc.backends.torch.training.settings import Tell, Training
from qbnnc.backends.torch.training.state import TuningState
from qbnnc.backends.torch.training.validation import Examples, Validation
from qbnnc.ir import format
from qbnnc.ir.ids import rows_taken_by
from qbnnc.ir.model import Model
from qbnnc.passes.base import run_passes
from qbnnc.passes.fusion.noise import ShareMasks
from qbnnc.passes.head.assign_head import fitted_by_targets, with_head
from qbnnc.passes.options import MaskSharing
from qbnnc.passes.pipeline import Options, simulate_model
from qbnnc.passes.ranges.calibrate import calibration_of
from qbnnc.support.errors import InputError
from qbnnc.support.text import counted

_MOST_HELD_OUT = 512

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
        device: torch.device | None = None,
    ) -> None:
        """See `finetune`; the calibration is done here."""
        check_loss(training.loss, model)
        task = task_for(training.loss, model) if options.task is None else options.task
        if training.loss.needs_labels:  # which have the shape of its first output
            model = fitted_by_targets(model)
        model, options = with_head(model, task), replace(options, task=task)
        self.training, self._head = training, compared_head(model)
        self._shared = options.quantisation.mask_sharing is MaskSharing.BATCH
        self._model, self._device = model, device or torch.device("cpu")
        self._examples, self._validation = self._split(x, y, validation)
        start = simulate_model(model, calibration_of(model), options, version=version)
        provenance = replace(start.provenance, training=f"{training}, {counted(len(x), 'row')}")
        self._start = self.best = replace(start, provenance=provenance)
        self.digest = self._digest(start)
        self._begin = 0
        self._resumed: TuningState | None = None

    @property
    def title(self) -> str:
        """The loss in words."""
        return loss_title(self.training.loss, self._head, len(self._model.graph.outputs))

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
        """Run one member, or what is left of it."""
        work = MemberTuning(self.job(number), len(self._model.members))
        if self._resumed is not None and self._resumed.member == number:
            work.restore(self._resumed.work)
        for progress in work.run():
            if work.best is not None:
                self.best = with_member(self.best, number, work.best)
            if tell is not None:
                tell(progress)
            if state is not None and progress.step:
                TuningState(self.digest, self.best, number, work.state()).save(state)

    def job(self, number: int) -> Job:
        """The member's part, with the outputs and masks of its simulation in the float network."""
        training, head = self.training, self._head
        trained = run_passes(self._model.members[number], (ShareMasks(self._shared),))
        teacher = teacher_of(trained, self._device)
        samples = training.validation_samples if self._model.stochastic else 1
        validation = Validation(self._validation, training.loss, head, teacher, samples)
        return Job(self._start, number, training, self._examples, validation, head, teacher)

    def _split(
        self, x: Rows, y: Labels | None, validation: tuple[Rows, Labels | None] | None
    ) -> tuple[Examples, Examples]:
        """Examples to learn from, and to validate on: held out by the seed where none are given."""
        batch = rows_taken_by(self._model.graph).of(x, "the training data")
        if self.training.loss.needs_labels and y is None:
            raise InputError(
                "the data has no labels",
                place=f"`loss` {self.training.loss.value}",
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
        held = min(max(1, round(len(batch) * self.training.held_out)), _MOST_HELD_OUT)
        held = min(held, len(batch) - 1)
        order = np.random.default_rng(self.training.seed).permutation(len(batch))
        parts = (
            self._examples_of(batch[rows], None if y is None else y[rows])
            for rows in (np.sort(order[held:]), np.sort(order[:held]))
        )
        learn, validate = parts
        return learn, validate

    def _examples_of(self, x: Rows, y: Labels | None) -> Examples:
        labels = y if self.training.loss.needs_labels else None
        return Examples(
            torch.from_numpy(np.ascontiguousarray(x)).to(self._device),
            None if labels is None else torch.from_numpy(np.asarray(labels)).to(self._device),
        )

    def _digest(self, start: Model) -> str:
        """The digest of all that decides the result."""
        sha = hashlib.sha256(repr(self.training).encode())
        sha.update(format.digest(start).encode())
        for part in (self._examples, self._validation):
            for tensor in (part.x, part.y):
                if tensor is not None:
                    sha.update(tensor.cpu().numpy().tobytes())
        return sha.hexdigest()


def _remove(state: Path | None) -> None:
    if state is not None:
        state.unlink(missing_ok=True)
