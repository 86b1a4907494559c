"""The distance of an artefact from the trained network: means, spread, order, KL.

`qbnnc.verification.oracle` compares bits. These measures tell what integers cost, and what a wrong
network would show.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.graph import Graph
from qbnnc.ir.head import Head, Task, class_logits
from qbnnc.ir.model import Model
from qbnnc.ir.ops import Softmax
from qbnnc.ir.outputs import MEAN, role_of
from qbnnc.ir.types import Array
from qbnnc.passes.head.mean_and_variance import mean_and_variance_axis
from qbnnc.passes.head.strip_softmax import ends_in_sigmoid
from qbnnc.support.errors import UserError

Float64 = NDArray[np.float64]
Reading = Callable[[Sequence[Array]], dict[str, Array]]

_LEAST_ROWS = 3  # that can be in another order
_NO_SPREAD = 1e-6  # of the largest value: float32 rounding


@dataclass(frozen=True, slots=True)
class Agreement:
    """One output's measures, over rows and elements; None where a quantity is not defined.

    `mean_shift`: root mean square of the difference of means, in the module's standard deviations
    (their root mean square). `deviation_ratio`: root mean squares of standard deviations, artefact
    over module. `rank_correlation`: Spearman's, over rows, of their standard deviations.
    `divergence`: KL(module || artefact) in nats, the mean over rows; of class probabilities, or of
    normal distributions with these means and variances, element by element.
    """

    output: str
    mean_shift: float | None
    deviation_ratio: float | None
    rank_correlation: float | None
    divergence: float | None


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that is accepted; None is no limit. A quantity that is not defined exceeds any.

    `deviation_ratio` r accepts 1/r to r; `rank_loss` is 1 - the rank correlation.
    """

    mean_shift: float | None = None
    deviation_ratio: float | None = None
    rank_loss: float | None = None
    divergence: float | None = None

    def exceeded(self, found: Agreement) -> list[str]:
        """Sentences about the limits that one output exceeds."""
        ratio = found.deviation_ratio
        spread = None if ratio is None else max(ratio, 1 / ratio) if ratio > 0 else np.inf
        rank = found.rank_correlation
        values = {
            "mean_shift": found.mean_shift,
            "deviation_ratio": spread,
            "rank_loss": None if rank is None else 1 - rank,
            "divergence": found.divergence,
        }
        return [
            _sentence(found.output, name, values[name], limit)
            for name, limit in ((f.name, getattr(self, f.name)) for f in fields(self))
            if limit is not None and not _within(values[name], limit)
        ]


def _within(value: float | None, limit: float) -> bool:
    return value is not None and value <= limit


def _sentence(output: str, name: str, value: float | None, limit: float) -> str:
    what = name.replace("_", " ")
    found = "undefined" if value is None else f"{value:.4g}"
    return f"{output}: the {what} is {found}, and {limit:g} is the limit"


def agreements(module: Mapping[str, Array], artefact: Mapping[str, Array]) -> list[Agreement]:
    """The measures of each quantity, of samples [L, B, *shape] by name; see `quantities`."""
    return [_agreement(name, module[name], artefact[name]) for name in module]


def _agreement(name: str, module: Array, artefact: Array) -> Agreement:
    x, y = (a.reshape(*a.shape[:2], -1).astype(np.float64) for a in (module, artefact))
    if not (x.size and np.isfinite(x).all() and np.isfinite(y).all()):
        return Agreement(name, None, None, None, None)
    means, spreads = [a.mean(0) for a in (x, y)], [a.std(0) for a in (x, y)]
    size, ours = (_rms(s) for s in spreads)
    varies = size > _NO_SPREAD * np.abs(x).max()
    classes = name == "probabilities"
    return Agreement(
        name,
        _rms(means[1] - means[0]) / size if varies else None,
        ours / size if varies else None,
        rank_correlation(*(np.sqrt((s**2).mean(-1)) for s in spreads)),
        _categorical(*means) if classes else _normal(means, spreads),
    )


def _rms(values: Float64) -> float:
    return float(np.sqrt((values**2).mean()))


def rank_correlation(a: Float64, b: Float64) -> float | None:
    """Spearman's rank correlation of two lists [B]; None if it is not defined."""
    if len(a) < _LEAST_ROWS or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    ranks = [_ranks(values) - (len(values) - 1) / 2 for values in (a, b)]
    size = np.sqrt((ranks[0] ** 2).sum() * (ranks[1] ** 2).sum())
    return float((ranks[0] * ranks[1]).sum() / size)


def _ranks(values: Float64) -> Float64:
    """0 for the least; equal values have the mean of their ranks."""
    _, where, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: Float64 = (last - (counts + 1) / 2)[where]
    return ranks


def _categorical(p: Float64, q: Float64) -> float:
    """Mean over rows of sum_k p_k log(p_k / q_k); probabilities below 1e-12 count as 1e-12."""
    p, q = (np.clip(a, 1e-12, None) for a in (p, q))
    return float((p * np.log(p / q)).sum(-1).mean())


def _normal(means: Sequence[Float64], spreads: Sequence[Float64]) -> float | None:
    """KL of N(m, s^2) from N(m', s'^2); None where one does not vary."""
    (m, n), (s, t) = means, spreads
    if min(s.min(), t.min()) <= 0:
        return None
    ratio = (s / t) ** 2
    each = (ratio - 1 - np.log(ratio) + ((m - n) / t) ** 2) / 2
    return float(each.mean())


def quantities(head: Head, samples: Sequence[Array]) -> dict[str, Array]:
    """The compared quantities of an artefact's samples [L, B, ...]: probabilities, or outputs."""
    if head.task is Task.CLASSIFICATION:
        return {"probabilities": probabilities(samples[0])}
    return dict(zip(head.sample_names(len(samples)), samples, strict=True))


def probabilities(logits: Array) -> Float64:
    """Softmax over the classes (axis 2) of logits [L, B, K, *map], or of one logit of two."""
    wide = class_logits(logits.astype(np.float64))
    each = np.exp(wide - wide.max(axis=2, keepdims=True))
    result: Float64 = each / each.sum(axis=2, keepdims=True)
    return result


def reading(forward: Graph, named: Sequence[str], compiled: Model) -> Reading:
    """A function from the outputs of the trained module's forward to the artefact's quantities.

    `forward` has the outputs of the module's forward, `named` are names that the user gave them or
    their halves, `compiled` is the Model of the artefact. UserError where no name tells which half
    is the mean.
    """
    head, count = compiled.head, len(compiled.graph.outputs)
    if head.task is Task.CLASSIFICATION:
        return lambda outputs: {"probabilities": _class_probabilities(forward, outputs[0])}
    names, axis = head.sample_names(count), mean_and_variance_axis(forward)
    roles = [role_of(name) for name in named]
    swapped = head.task is Task.REGRESSION and count == 2 and roles[1:] == [MEAN]
    order = (1, 0) if swapped else tuple(range(count))
    halves = count == 2 and len(forward.outputs) == 1 and axis is not None
    if halves and head.task is Task.REGRESSION and MEAN not in roles:
        said = f"{MEAN},{head.spread.value}"
        raise UserError(
            "one output, and neither it nor the artefact tells which half is the mean",
            place="`source`",
            remedy=f"say `output_names='{said}'`, in the order of the halves",
        )

    def read(outputs: Sequence[Array]) -> dict[str, Array]:
        parts = np.split(outputs[0], 2, (axis or 0) + 2) if halves else outputs
        return {name: parts[i] for name, i in zip(names, order, strict=True)}

    return read


def _class_probabilities(graph: Graph, output: Array) -> Float64:
    """Probabilities from the module's softmax, its logarithm, a sigmoid, or logits."""
    last = graph.producers().get(graph.outputs[0])
    if last is not None and isinstance(last.op, Softmax):
        return np.exp(output) if last.op.log else np.asarray(output, np.float64)
    if ends_in_sigmoid(graph):
        flat = output.reshape(*output.shape[:2], 1, *output.shape[3:])
        return np.concatenate([1 - flat, flat], axis=2)
    return probabilities(output)
