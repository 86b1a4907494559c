"""All outputs of what a user trained, sample by sample: what an artefact is compared with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from qbnnc.frontend.convert.program import batch_of, the_input
from qbnnc.frontend.distribution.coupling import as_array
from qbnnc.frontend.distribution.reference import Call, Reference
from qbnnc.frontend.distribution.sampling import Tell
from qbnnc.ir.types import Array

_ROWS = 256  # in one call of the module


def reference_samples(
    references: Sequence[Reference],
    x: NDArray[np.float32],
    samples: int,
    seed: int,
    tell: Tell | None = None,
) -> list[Array]:
    """Each output of the modules, float64 [samples, B, *shape]; sample s is of member s mod M.

    `samples` is a multiple of the members. The generator of torch is seeded once for each member.
    """
    members = len(references)
    parts = [
        _member_samples(reference, x, samples // members, seed * members + number, tell)
        for number, reference in enumerate(references)
    ]
    whole = [np.empty((samples, *output.shape[1:])) for output in parts[0]]
    for number, outputs in enumerate(parts):
        for made, output in zip(whole, outputs, strict=True):
            made[number::members] = output
    return whole


def _member_samples(
    reference: Reference, x: NDArray[np.float32], count: int, seed: int, tell: Tell | None
) -> list[Array]:
    batch = batch_of(the_input(reference.traced.program))
    step = batch if isinstance(batch, int) else _ROWS
    made = list[list[Array]]()
    with reference.opened() as call:
        torch.manual_seed(seed)
        for _ in range(count):
            made.append(_one_sample(reference, call, x, step))
            if tell is not None:
                tell(1)
    return [np.stack(column) for column in zip(*made, strict=True)]


def _one_sample(reference: Reference, call: Call, x: NDArray[np.float32], step: int) -> list[Array]:
    """One call for each `step` rows; the last is filled up, as the program may take that many."""
    parts = list[list[Array]]()
    for start in range(0, len(x), step):
        rows = x[start : start + step]
        short = step - len(rows) if step != _ROWS else 0
        filled = np.concatenate([rows, np.repeat(rows[-1:], short, axis=0)])
        parts.append([as_array(output)[: len(rows)] for output in call(reference.input(filled))])
    return [np.concatenate(column) for column in zip(*parts, strict=True)]
