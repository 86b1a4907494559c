"""The order of the rows by their uncertainty, and whether another network keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from math import atanh, isnan, sqrt, tanh

from qbnnc.evaluation.spread import row_spreads
from qbnnc.ir.head import Task
from qbnnc.ir.types import Array
from qbnnc.runtime.ranking import rank_correlation

_VARIANCE = 1.06  # of Spearman's atanh(r), times N - 3: Fieller, Hartley, Pearson, Biometrika 1957
_FEWEST_ROWS = 4  # whose correlation has a standard error


@dataclass(frozen=True, slots=True)
class Order:
    """Spearman's rank correlation of the spreads of `rows` rows, of two networks.

    `repeated` is the correlation that the reference would have with itself at another seed; 1 where
    nothing is drawn.
    """

    correlation: float
    rows: int
    repeated: float = 1.0

    def is_below(self, least: float) -> bool:
        """Whether the correlation is below `least`, by two standard errors, and below `repeated`.

        An order that another seed would change as much is nothing that could be kept.
        """
        if self.correlation >= min(1.0, self.repeated) or self.rows < _FEWEST_ROWS:
            return False
        if self.correlation <= -1:
            return True
        error = sqrt(_VARIANCE / (self.rows - 3))
        return tanh(atanh(self.correlation) + 2 * error) < least


def order_of(
    reference: tuple[Array, ...], samples: tuple[Array, ...], task: Task, *, random: bool
) -> Order | None:
    """Compare samples [L, B, *shape] of each output of two networks, for the same rows.

    None where all rows of one of them have the same spread. `random` says that the samples were
    drawn. Two halves of the reference's samples then tell how well they repeat the order; the
    whole repeats it better (Spearman and Brown's formula, 1910).
    """
    found = rank_correlation(row_spreads(reference, task), row_spreads(samples, task))
    rows = reference[0].shape[1]
    if isnan(found):
        return None
    if not random:
        return Order(found, rows)
    halves = [row_spreads(tuple(a[start::2] for a in reference), task) for start in (0, 1)]
    half = rank_correlation(*halves)
    by_chance = 2 * sqrt(_VARIANCE / max(rows - 3, 1))  # an order that is none
    if isnan(half) or half <= by_chance:
        return None
    return Order(found, rows, 2 * half / (1 + half))
