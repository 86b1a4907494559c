"""The distance of a network's uncertainties from those of another network, row by row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import pairwise

import numpy as np

from qbnnc.evaluation.score import Rows, Scores, measure_of
from qbnnc.passes.mixed_precision.measured import divergence
from qbnnc.runtime.ranking import rank_correlation


def compared(reference: Rows, rows: Rows) -> dict[str, float]:
    """Compare predictions of the same rows, made with the same random numbers.

    "kl" is KL(reference || rows) of the predictive distributions in nats, the mean over the rows.
    "rank" is the rank correlation of the epistemic standard deviations, or mutual informations.
    "spread" is the ratio of their means. What is undefined, as nothing varies, is left out.
    """
    found = {"kl": divergence(reference.predicted, rows.predicted)}
    rank = rank_correlation(reference.epistemic, rows.epistemic)
    if not np.isnan(rank):
        found["rank"] = rank
    mean = float(reference.epistemic.mean())
    if 0 < mean < np.inf:
        found["spread"] = float(rows.epistemic.mean()) / mean
    return found


def with_fidelity(scores: Scores, reference: Scores) -> Scores:
    """Add the comparison with `reference`, seed by seed; it may have one seed for all."""
    others = reference.rows_of_seeds
    if len(others) == 1:
        others *= len(scores.rows_of_seeds)
    pairs = zip(others, scores.rows_of_seeds, strict=False)
    return _with(scores, (compared(a, b) for a, b in pairs))


def with_noise(scores: Scores) -> Scores:
    """Add the comparison of each seed with the next: what so few samples leave to chance."""
    return _with(scores, (compared(a, b) for a, b in pairwise(scores.rows_of_seeds)))


def _with(scores: Scores, each: Iterable[Mapping[str, float]]) -> Scores:
    found = list(each)
    names = [name for name in ("kl", "rank", "spread") if found and all(name in f for f in found)]
    measures = {name: measure_of([one[name] for one in found]) for name in names}
    return replace(scores, measures={**scores.measures, **measures})
