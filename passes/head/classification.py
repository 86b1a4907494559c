"""A network as a classifier: logits of classes, or one logit of two."""

from __future__ import annotations

from dataclasses import replace

from qbnnc.ir.head import Head, Task, is_binary
from qbnnc.ir.model import Model
from qbnnc.passes.head.intervals import intervals
from qbnnc.passes.head.strip_softmax import (
    StripSoftmax,
    ends_in_sigmoid,
    ends_in_softmax,
    strip_sigmoid,
)
from qbnnc.support.errors import UserError

_TASK = "`task` classification"


def as_classifier(model: Model) -> Model:
    """1. The softmax or log_softmax at the end is stripped, and so is the sigmoid of one class.
    2. One logit, [1] or [] a row, is that of class 1 of two.
    3. UserError for several outputs, for several sigmoids, and for numbers that can be no logits:
       they are probabilities, or positive, as evidence is.
    """
    head = Head(Task.CLASSIFICATION)
    head.check(tuple(v.type for v in model.graph.outputs))
    if ends_in_softmax(model.graph):
        return replace(model, members=tuple(map(StripSoftmax(), model.members)), head=head)
    shape = model.graph.outputs[0].type.shape
    if ends_in_sigmoid(model.graph):
        if not is_binary(shape):
            raise UserError(
                f"the {list(shape)} sigmoids are labels of their own, not classes of which one "
                "is true",
                place=_TASK,
                remedy="use `task='raw'`, which gives mean and variance of each probability",
            )
        return replace(model, members=tuple(map(strip_sigmoid, model.members)), head=head)
    _check_logits(model)
    return replace(model, head=head)


def _check_logits(model: Model) -> None:
    output = model.graph.outputs[0]
    shape, interval = list(output.type.shape), intervals(model.graph)[output]
    if interval.is_probability:
        raise UserError(
            f"the output {shape} lies between 0 and 1, as probabilities do, and the task "
            "takes logits",
            place=_TASK,
            remedy="return what enters the sigmoid or softmax, or use `task='raw'`",
        )
    if interval.low > 0 or (is_binary(output.type.shape) and interval.never_negative):
        raise UserError(
            f"the output {shape} is never negative, as evidence or a rate is, and the task "
            "takes logits",
            place=_TASK,
            remedy="return logits, or use `task='raw'`",
        )
