"""An artefact against what it was compiled from: both sampled on the same rows."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.ids import rows_taken_by
from qbnnc.loading.artefacts import Predictor, open_artefact
from qbnnc.loading.recorded_names import named_as_compiled
from qbnnc.loading.sources import SourceOptions, Trained, read_trained
from qbnnc.support import limits
from qbnnc.support.errors import InputError, UserError
from qbnnc.support.inputs import as_count
from qbnnc.support.several_inputs import Arrays
from qbnnc.support.text import counted
from qbnnc.verification.agreement import Agreement, Limits, agreements, quantities, reading
from qbnnc.verification.oracle import check_samples

SAMPLES = 1000
_ROWS = 256

Tell = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class SourceComparison:
    """The measures of each output; `called` is what was sampled: a module or a saved program."""

    artefact: str
    called: str
    rows: int
    samples: int
    agreements: tuple[Agreement, ...]
    exceeded: tuple[str, ...]

    @property
    def noise(self) -> float | None:
        """The mean shift that as many samples of one distribution have; None of one sample."""
        return (2 / self.samples) ** 0.5 if self.samples > 1 else None

    @property
    def accepted(self) -> bool:
        """Whether no limit is exceeded."""
        return not self.exceeded


def verify(
    artefact: str | os.PathLike[str],
    x: Arrays,
    source: object,
    *,
    samples: int | None = None,
    seed: int = 0,
    limits: Limits | None = None,
    source_options: SourceOptions | None = None,
    threads: int | None = None,
    progress: Tell | None = None,
) -> SourceComparison:
    """Compare an artefact with the module that it was compiled from, by sampling both.

    `x` [N, *shape] are rows. `source` is what `qbnnc.compile` took: a module, a file, or files.
    `samples` of each (1,000 unless given; one a member where nothing is random). Raises UserError
    where the two do not fit each other. `limits` decide `accepted`.
    """
    opened = open_artefact(artefact, threads)
    taken = rows_taken_by(opened.model.graph)
    batch = taken.of(x)
    if len(batch) == 0:
        raise InputError("no rows, so that nothing would be compared", place="the input")
    trained = read_trained(source, taken.example(x, batch), source_options or SourceOptions())
    _check_fit(opened, trained)
    count = _count(opened, samples)
    from qbnnc.frontend.distribution import reference_samples

    done = 0

    def tell(more: int) -> None:
        nonlocal done
        done += more
        if progress is not None:
            progress(done, count)

    wanted = reference_samples(trained.references, batch, count, seed, tell)
    forward = trained.references[0].traced.graph  # whose outputs no name has cut in two
    named = named_as_compiled(trained.model, [opened.model]).head.outputs
    module = reading(forward, named, opened.model)(wanted)
    names = opened.model.head.sample_names(len(opened.model.graph.outputs))
    made = _predicted(opened, batch, count, seed)
    found = agreements(module, quantities(opened.model.head, [made[name] for name in names]))
    exceeded = [text for one in found for text in (limits or Limits()).exceeded(one)]
    called = "saved program" if trained.references[0].is_program else "module"
    return SourceComparison(
        os.fspath(artefact), called, len(batch), count, tuple(found), tuple(exceeded)
    )


def _check_fit(opened: Predictor, trained: Trained) -> None:
    if not trained.references:
        raise UserError(
            "a .qbnn or a Model has no module to sample",
            place="`source`",
            remedy="give what it was compiled from",
        )
    ours, theirs = len(opened.model.members), len(trained.references)
    if ours != theirs:
        raise UserError(
            f"{counted(theirs, 'member')}, and the artefact has {ours}",
            place="`source`",
            remedy="give the network that it was compiled from",
        )
    a, b = (model.graph.input.type.shape for model in (opened.model, trained.model))
    if a != b:
        raise UserError(
            f"takes rows of {list(b)}, and the artefact {list(a)}",
            place="`source`",
            remedy="give the network that it was compiled from",
        )


def _count(opened: Predictor, samples: int | None) -> int:
    """A multiple of the members; where nothing is random there is one sample a member."""
    members = len(opened.model.members)
    if not opened.model.stochastic:
        check_samples(opened.model, samples)
        return members
    wanted = SAMPLES if samples is None else as_count(samples, "`samples`", limits.DRAWS.most)
    return -(-wanted // members) * members


def _predicted(
    opened: Predictor, x: NDArray[np.float32], count: int, seed: int
) -> dict[str, NDArray[np.float32]]:
    """Samples by name; an artefact that gives fewer is asked again with the next seeds."""
    names = opened.model.head.sample_names(len(opened.model.graph.outputs))
    parts, drawn = list[Mapping[str, NDArray[np.float32]]](), 0
    while drawn < count:
        part = opened.predict(x, seed=seed + len(parts), batch_size=_ROWS)
        parts.append(part)
        drawn += len(part[names[0]])
    return {name: np.concatenate([part[name] for part in parts])[:count] for name in names}
