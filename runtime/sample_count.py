"""The number of samples that a prediction asks for."""

from __future__ import annotations

from qbnnc.support.errors import InputError
from qbnnc.support.inputs import as_integer


def sample_count(samples: int | None, own: int, members: int, *, stochastic: bool) -> int:
    """Return L, the model's `own` if None; InputError if the model cannot give so many samples."""
    count = own if samples is None else as_integer(samples, "samples")
    if not stochastic and count != members:
        raise InputError(
            f"{count}, but nothing is random here: there is one sample of each of the "
            f"{members} network(s)",
            place="samples",
            remedy="leave samples out",
        )
    if count < 1 or count % members:
        advice = f"take a positive multiple of the {members} ensemble member(s)"
        raise InputError(f"{count}", place="samples", remedy=advice)
    return count
