"""Statistics of the samples, defined once for every backend (docs/semantics.md, section 4).

The samples themselves are bit-equal everywhere. The statistics are computed from them in float64
and rounded to float32. Backends agree to 1e-6*max(1, max|x|) for means and probabilities, and to
1e-5 relative for variances.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from functools import cache

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.outputs import MEAN, Spread, identifiers, spellings
from qbnnc.ir.types import Array, TensorType
from qbnnc.support.errors import UserError
from qbnnc.support.text import counted

Float64 = NDArray[np.float64]


class Task(Enum):
    RAW = "raw"
    CLASSIFICATION = "classification"
    REGRESSION = "regression"


@dataclass(frozen=True, slots=True)
class Head:
    """The statistics a prediction carries besides its samples.

    `outputs` are names, one an output, or none. A regression of two outputs has "mean" and the
    value of a Spread; none means (mean, log_var). `stated` belongs to a network that has no task
    yet: its user has said what the outputs are, so that nobody need be asked.
    """

    task: Task
    outputs: tuple[str, ...] = field(default=(), metadata={"since": 2})
    stated: bool = field(default=False, metadata={"since": 2})

    def check(self, outputs: tuple[TensorType, ...]) -> None:
        """UserError if a network with these outputs cannot have this head."""
        if self.outputs and len(self.outputs) != len(outputs):
            raise UserError(
                f"{counted(len(self.outputs), 'name')}, and the model has {_shapes(outputs)}",
                place=f"`output_names` {','.join(self.outputs)}",
                remedy="give a name for each, or mean,log_var for the halves of one output",
            )
        match self.task:
            case Task.CLASSIFICATION if len(outputs) != 1:
                raise UserError(
                    "task classification needs one output of logits, and the model has "
                    f"{_shapes(outputs)}",
                    remedy="use `task='raw'`",
                )
            case Task.REGRESSION if not self._is_regression(outputs):
                raise UserError(
                    "task regression needs one output, or two of equal shape: mean and one of "
                    f"{', '.join(spellings())}. "
                    f"The model has {_shapes(outputs)}",
                    remedy="use `task='raw'`",
                )
            case _:
                pass

    def _is_regression(self, outputs: tuple[TensorType, ...]) -> bool:
        known = self.outputs in ((), (MEAN,), *((MEAN, s) for s in spellings()))
        equal = len(outputs) == 2 and outputs[0].shape == outputs[1].shape
        return known and (len(outputs) == 1 or equal)

    @property
    def spread(self) -> Spread:
        """The meaning of a regression's second output."""
        return Spread(self.outputs[1]) if len(self.outputs) == 2 else Spread.LOG_VARIANCE

    def sample_names(self, count: int) -> tuple[str, ...]:
        """The names of the samples of the network's `count` outputs."""
        return _sample_names(self, count)

    def statistic_names(self, count: int) -> tuple[str, ...]:
        """The names of the statistics computed from the samples, in order."""
        return _statistic_names(self, count)

    @property
    def moments_alone(self) -> bool:
        """Whether one output has no statistics but its mean, and its variance by a name or two."""
        return self.task is not Task.CLASSIFICATION

    def evaluate(self, samples: tuple[Array, ...]) -> dict[str, NDArray[np.float32]]:
        """The statistics, by name and without the axis L, of samples [L, B, ...]."""
        wide = [s.astype(np.float64) for s in samples]
        match self.task:
            case Task.CLASSIFICATION:
                values = _classification(class_logits(wide[0]))
            case Task.REGRESSION:
                values = _regression(wide, self.spread)
            case _:
                values = [v for s in wide for v in _moments(s)]
        with np.errstate(over="ignore"):
            rounded = [v.astype(np.float32) for v in values]
        return dict(zip(self.statistic_names(len(samples)), rounded, strict=True))


def is_binary(output: tuple[int, ...]) -> bool:
    """Whether an output of this shape is one logit, that of class 1 of two (classes first)."""
    return not output or output[0] == 1


def class_shape(output: tuple[int, ...]) -> tuple[int, ...]:
    """The shape [classes, *map] of the probabilities that logits of this shape give."""
    return (2, *output[1:]) if is_binary(output) else output


def class_logits(logits: Float64) -> Float64:
    """The logits of classes [L, B, K, *map], which are (0, z) for one logit z a row or pixel.

    The softmax of (0, z) is (1 - sigmoid(z), sigmoid(z)).
    """
    if not is_binary(logits.shape[2:]):
        return logits
    z = logits.reshape(*logits.shape[:2], 1, *logits.shape[3:])
    return np.concatenate([np.zeros_like(z), z], axis=2)


@cache
def _sample_names(head: Head, count: int) -> tuple[str, ...]:
    if head.task is Task.REGRESSION and count == 2:
        return ("samples", f"samples_{head.spread.value}")
    return tuple(f"samples{suffix}" for suffix in _suffixes(head, count))


@cache
def _statistic_names(head: Head, count: int) -> tuple[str, ...]:
    match head.task:
        case Task.CLASSIFICATION:
            return ("probabilities", "entropy", "mutual_information")
        case Task.REGRESSION if count == 2:
            return ("mean", "aleatoric", "epistemic", "variance")
        case Task.REGRESSION:
            return ("mean", "epistemic", "variance")
        case _:
            suffixes = _suffixes(head, count)
            return tuple(f"{name}{s}" for s in suffixes for name in ("mean", "variance"))


def _suffixes(head: Head, count: int) -> tuple[str, ...]:
    names = head.outputs or ("",) * count
    return ("",) if count == 1 else tuple(f"_{name}" for name in identifiers(names))


def _classification(logits: Float64) -> list[Float64]:
    """Mean softmax over the samples (classes on axis 2), its entropy (5), mutual information.

    Entropies in nats, 0 log 0 = 0. MI = H(mean p) - mean H(p).
    """
    each = np.exp(logits - logits.max(axis=2, keepdims=True))
    each /= each.sum(axis=2, keepdims=True)
    mean = _mean(each)
    entropy = _entropy(mean, axis=1)
    return [mean, entropy, entropy - _mean(_entropy(each, axis=2))]


def _entropy(p: Float64, axis: int) -> Float64:
    logs = np.log(np.where(p > 0, p, 1.0))
    total: Float64 = -(p * logs).sum(axis=axis)
    return total


def _moments(samples: Float64) -> tuple[Float64, Float64]:
    """Mean and variance over the first axis."""
    mean = _mean(samples)
    return mean, _sum((sample - mean) ** 2 for sample in samples) / len(samples)


def _mean(values: Float64) -> Float64:
    """The mean over the first axis; its bits do not depend on the lengths of the others."""
    return _sum(values) / len(values)


def _sum(values: Iterable[Float64]) -> Float64:
    """In order, one after the other, so that it rounds alike wherever it is computed."""
    first, *others = values
    total = first.copy()
    for value in others:
        total += value
    return total


def _regression(samples: list[Float64], spread: Spread) -> list[Float64]:
    mean, epistemic = _moments(samples[0])
    if len(samples) == 1:
        return [mean, epistemic, epistemic]
    with np.errstate(over="ignore"):
        aleatoric = _mean(spread.variance(samples[1]))
    return [mean, aleatoric, epistemic, aleatoric + epistemic]


def _shapes(outputs: tuple[TensorType, ...]) -> str:
    shapes = ", ".join(str(list(o.shape)) for o in outputs)
    return f"{counted(len(outputs), 'output')} of shape {shapes}"
