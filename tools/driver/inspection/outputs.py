"""The outputs of a Model, as people are told of them."""

from __future__ import annotations

from dataclasses import dataclass

from qbnnc.ir.head import Task, class_shape, is_binary
from qbnnc.ir.model import Model
from qbnnc.ir.outputs import Spread
from qbnnc.ir.types import CONSTANT

_WORDS = {
    Spread.LOG_VARIANCE: "log variance",
    Spread.VARIANCE: "variance",
    Spread.STD: "standard deviation",
    Spread.LOG_STD: "log standard deviation",
}


@dataclass(frozen=True, slots=True)
class OutputReport:
    """`samples` is what its samples are called, `meaning` what else is known of it, or "".

    `constant`: the same for every input.
    """

    samples: str
    meaning: str
    shape: tuple[int, ...]
    constant: bool

    def __str__(self) -> str:
        words = ", ".join(filter(None, (self.meaning, "constant" * self.constant)))
        return f"{self.samples} {list(self.shape)}" + (f" ({words})" if words else "")


def outputs_of(model: Model) -> tuple[OutputReport, ...]:
    """The outputs in order."""
    values = model.graph.outputs
    names = model.head.sample_names(len(values))
    return tuple(
        OutputReport(name, meaning, value.type.shape, value.type.axes == CONSTANT)
        for name, meaning, value in zip(names, _meanings(model), values, strict=True)
    )


def describe_outputs(model: Model) -> str:
    """ "samples [1] (mean), samples_log_var [1] (log variance); aleatoric = exp(log_var)"."""
    text = ", ".join(map(str, outputs_of(model)))
    if model.head.task is Task.REGRESSION and len(model.graph.outputs) == 2:
        text += f"; aleatoric = mean of {model.head.spread.formula}"
    return text


def _meanings(model: Model) -> tuple[str, ...]:
    head, shapes = model.head, [value.type.shape for value in model.graph.outputs]
    match head.task:
        case Task.CLASSIFICATION if is_binary(shapes[0]):
            return ("logit of class 1 of 2",)
        case Task.CLASSIFICATION:
            return (f"logits of {class_shape(shapes[0])[0]} classes",)
        case Task.REGRESSION:
            return ("mean", _WORDS[head.spread])[: len(shapes)]
        case _:
            return head.outputs if len(shapes) == 1 and head.outputs else ("",) * len(shapes)
