"""The distribution check as users have it: the network against the module it was made of."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.model import Model
from qbnnc.loading.sources import Trained
from qbnnc.passes.options import MaskSharing, Quantisation
from qbnnc.passes.pipeline import comparable
from qbnnc.passes.ranges.calibrate import Progress
from qbnnc.support.inputs import choice

if TYPE_CHECKING:
    from qbnnc.frontend.distribution import Subject

DistributionCheck: TypeAlias = Literal["default", "full"] | None

NOT_CHECKED = "not compared with the module (--no-distribution-check)"


def checked(
    trained: Trained,
    rows: NDArray[np.float32],
    quantisation: Quantisation,
    effort: DistributionCheck,
    progress: Progress | None = None,
) -> Model:
    """The FLOAT Model, its provenance saying how it was compared with what it was made of.

    `rows` [N, *shape] are calibration data. `effort` None compares nothing. A Model that was read
    from a .qbnn keeps what it says. DistributionError, a UserError, if its distribution is another.
    """
    model = trained.model
    if not trained.references and model.provenance.distribution:
        return model
    if effort is None:
        return with_verdict(model, _joined(trained, NOT_CHECKED))
    if not trained.references:
        return model
    from qbnnc.frontend.distribution import Effort, check_distribution

    chosen = choice("distribution_check", Effort, effort)
    subjects = _subjects(trained, quantisation)
    report = str(check_distribution(subjects, rows, chosen, progress))
    return with_verdict(model, _joined(trained, report))


def _joined(trained: Trained, verdict: str) -> str:
    """The verdict, behind what there was when the network was saved, and its kinds of object."""
    objects = dict.fromkeys(reference.told for reference in trained.references)
    return "; ".join(filter(None, (_when_saved(trained), *objects, verdict)))


def _when_saved(trained: Trained) -> str:
    return f"when saved: {trained.checked}" if trained.checked else ""


def with_verdict(model: Model, verdict: str) -> Model:
    """The Model with this text in its provenance."""
    return replace(model, provenance=replace(model.provenance, distribution=verdict))


def _subjects(trained: Trained, quantisation: Quantisation) -> list[Subject]:
    from qbnnc.frontend.distribution import Quantity, Subject

    shared = quantisation.mask_sharing is MaskSharing.BATCH
    skipped = frozenset({Quantity.ROWS} if shared else ())
    found = list[Subject]()
    for reference in trained.references:
        graph = reference.traced.graph  # its outputs are those of forward, whatever they are named
        exact = comparable(graph, shared=False)
        sampled = comparable(graph, shared=True) if shared else exact
        found.append(Subject(reference, exact, sampled, skipped))
    return found
