"""Fine-tuning one network, or one member of an ensemble: trials of learning rates, and the run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from qbnnc.backends.torch.training.loop import Diverged, Job, Loop, Run
from qbnnc.backends.torch.training.settings import Progress
from qbnnc.ir.graph import Graph

_RATES = (3e-4, 1e-3, 3e-3, 1e-2)
_TRIALS_IN_A_RUN = 4


class MemberTuning:
    """The runs of one member, resumable between validations.

    Without a learning rate several are tried from the same start, for a quarter of the steps each.
    In a trial too the rate falls to 0. Shorter trials prefer rates that are too small. The whole
    run then begins anew with the best by validation.
    """

    def __init__(self, job: Job, members: int) -> None:
        """`members` counts those of the ensemble."""
        self._job, self._members = job, members
        self._steps = job.training.steps_of(job.steps_per_epoch)
        self._tried: tuple[float, ...] = _RATES if job.training.lr is None else ()
        self._trial_steps = max(1, self._steps // _TRIALS_IN_A_RUN)
        self._trials: list[float] = []
        self._least: float | None = None
        self._loop: Loop | None = None
        self.best: Graph | None = None
        """The best SIMULATED graph, once a step has improved on the start."""

    def run(self) -> Iterator[Progress]:
        """All that is left to do, with a report after each validation; Diverged if it goes wrong.

        A rate of a trial may diverge, as long as another does not.
        """
        if self._least is None:
            self._least = Loop(self._job, Run(1.0, 1)).validate()
            yield self._progress(None, self._least)
        while len(self._trials) < len(self._tried):
            yield self._trial(self._tried[len(self._trials)])
        loop = self._loop = self._loop or self._main()
        while loop.step < loop.steps:
            loss = loop.advance(loop.report_every)
            yield self._progress(loss, self._validated(loop))

    def state(self) -> dict[str, object]:
        """All that `restore` needs: tensors, numbers and containers of them."""
        loop = None if self._loop is None else self._loop.state()
        return {"trials": list(self._trials), "least": self._least, "loop": loop}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._trials, self._least = state["trials"], state["least"]
        if state["loop"] is not None:
            self._loop = self._main()
            self._loop.restore(state["loop"])

    def _trial(self, rate: float) -> Progress:
        loop = Loop(self._job, Run(rate, self._trial_steps))
        try:
            loss: float | None = loop.advance(loop.steps)
            value = self._validated(loop)
        except Diverged:
            loss, value = None, math.inf
            if all(math.isinf(v) for v in self._trials) and rate == self._tried[-1]:
                raise
        self._trials.append(value)
        return self._progress(loss, value)

    def _main(self) -> Loop:
        """The whole run, not yet begun, at the rate that did best."""
        rate = self._job.training.lr
        if rate is None:
            rate = self._tried[self._trials.index(min(self._trials))]
        return Loop(self._job, Run(rate, self._steps))

    def _validated(self, loop: Loop) -> float:
        """The validation loss of now; the graph is kept if it is the best."""
        assert self._least is not None
        value = loop.validate()
        if value < self._least:
            self._least, self.best = value, loop.simulation.graph()
        return value

    def _progress(self, loss: float | None, value: float) -> Progress:
        assert self._least is not None
        step = len(self._trials) * self._trial_steps
        step += 0 if self._loop is None else self._loop.step
        steps = len(self._tried) * self._trial_steps + self._steps
        return Progress(self._job.member, self._members, step, steps, loss, value, self._least)
