"""The metrics that an evaluation will have, known before it begins."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from qbnnc.ir.head import Task
from qbnnc.support.errors import UserError

_CLASSES = ("error", "nll", "ece", "entropy", "mutual_information", "brier", "aurc")
_TARGETS = ("rmse", "nll", "epistemic_std", "aleatoric_std", "aurc", "coverage")
_UNKNOWN_CLASSES = ("ood_entropy", "ood_mutual_information", "ood_auroc")
_UNKNOWN_TARGETS = ("ood_epistemic_std", "ood_aleatoric_std", "ood_auroc")
_FIDELITY = ("kl", "rank", "spread")


def measurable(task: Task, *, ood: bool, aleatoric: bool, compared: bool) -> tuple[str, ...]:
    """The names of the metrics, in the order of a table.

    `ood`: there are out-of-distribution inputs. `aleatoric`: the networks of a regression predict
    the variance about the mean. `compared`: a float network stands beside the others.
    """
    classifies = task is Task.CLASSIFICATION
    names = (_CLASSES if classifies else _TARGETS) + (
        (_UNKNOWN_CLASSES if classifies else _UNKNOWN_TARGETS) if ood else ()
    )
    found = tuple(name for name in names if aleatoric or "aleatoric" not in name)
    return found + _FIDELITY * compared


def check_measurable(wanted: Sequence[str], known: Sequence[str]) -> None:
    """UserError at "the metric NAME" for the first of `wanted` that is not `known`."""
    for name in wanted:
        if name in known:
            continue
        place = f"the metric {name}"
        if name in _FIDELITY:
            raise UserError("compares with a float network", place, "name one with --compare")
        if name in (*_UNKNOWN_CLASSES, *_UNKNOWN_TARGETS):
            raise UserError("is of other inputs", place, "give them with `ood`")
        near = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise UserError("is not measured here", place, f"{hint}there are {', '.join(known)}")
