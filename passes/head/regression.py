"""A network as a regression: a mean, and perhaps an output for the variance about it."""

from __future__ import annotations

from dataclasses import replace
from typing import NoReturn

from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from qbnnc.ir.outputs import MEAN, Spread, role_of, spellings
from qbnnc.passes.head.intervals import intervals
from qbnnc.passes.head.mean_and_variance import mean_and_variance_axis
from qbnnc.support.errors import UserError

_TASK = "`task` regression"
_SAY = f"`output_names='{MEAN},{'|'.join(spellings()[:3])}'`"
_WORDS = {Spread.VARIANCE: "variance", Spread.STD: "standard deviation"}


def as_regression(model: Model) -> Model:
    """1. One output is the mean, unless it could as well be mean and log variance in one tensor:
       then its name must say so.
    2. The names of two outputs say which is the mean and what the other is. A constant output may
       have the name of its parameter. The mean becomes the first.
    3. An unnamed pair is (mean, log_var), if its second output can be negative.
    4. UserError in all other cases. An output that may be negative is no variance, one that may not
       be is hardly a logarithm, and nothing is guessed. A user's statement holds.
    """
    if len(model.graph.outputs) == 1:
        _check_alone(model)
        return replace(model, head=Head(Task.REGRESSION))
    if len(model.graph.outputs) > 2:
        _refuse_many(model)
    roles = _roles(model)
    order = (0, 1) if roles[0] == MEAN else (1, 0)
    spread = Spread(roles[order[1]])
    if not model.head.stated:
        _check_sign(model, order[1], spread)
    members = tuple(
        replace(member, outputs=tuple(member.outputs[i] for i in order)) for member in model.members
    )
    names = () if spread is Spread.LOG_VARIANCE else (MEAN, spread.value)
    return replace(model, members=members, head=Head(Task.REGRESSION, names))


def _check_alone(model: Model) -> None:
    shape = list(model.graph.outputs[0].type.shape)
    role = role_of(model.head.outputs[0]) if model.head.outputs else None
    if role not in (None, MEAN):
        raise UserError(
            f"the one output is called {model.head.outputs[0]!r}, and a regression needs the mean",
            place=_TASK,
            remedy="return it too, or say `output_names='mean'`",
        )
    axis = mean_and_variance_axis(model.graph)
    if role is None and not model.head.stated and axis is not None:
        count = model.graph.outputs[0].type.shape[axis]
        raise UserError(
            f"the one output {shape} could be {count} targets, or the mean and the log "
            f"variance of {count // 2}",
            place=_TASK,
            remedy=f"say `output_names='mean'`, or {_SAY}",
        )


def _refuse_many(model: Model) -> NoReturn:
    names = f" ({', '.join(model.head.outputs)})" if model.head.outputs else ""
    raise UserError(
        f"the model has {len(model.graph.outputs)} outputs{names}, and a regression is "
        "a mean and what says its variance",
        place=_TASK,
        remedy="return these two, or use `task='raw'`, which gives mean and variance of each "
        "output",
    )


def _roles(model: Model) -> tuple[str, str]:
    """The meanings of the two outputs: "mean", or the value of a Spread."""
    names, outputs = model.head.outputs or ("", ""), model.graph.outputs
    roles = [role_of(name) for name in names]
    for i, value in enumerate(outputs):
        if not names[i] and not value.type.axes:
            roles[i] = role_of(value.name.removesuffix(".value").rpartition(".")[2])
    match roles:
        case [str(first), str(second)] if (first == MEAN) != (second == MEAN):
            return first, second
        case [None, str(second)] if second != MEAN and not names[0]:
            return MEAN, second
        case [None, None] if not any(names) and outputs[0].type.axes:
            if intervals(model.graph)[outputs[1]].never_negative and not _is_parameter(model, 1):
                raise UserError(
                    "the second output is never negative, so it is hardly the LOG of a variance, "
                    "and it has no name that tells",
                    place=_TASK,
                    remedy=f"say {_SAY}, or return a dict or NamedTuple with such names",
                )
            return MEAN, Spread.LOG_VARIANCE.value
    if not any(names):
        raise UserError(
            "the first output is a constant, and it should be the mean",
            place=_TASK,
            remedy=f"return the mean first, or say {_SAY}, in the order of the outputs",
        )
    raise UserError(
        f"the outputs are called {', '.join(map(repr, names))}, which does not tell the "
        "mean from what says its variance",
        place=_TASK,
        remedy=f"say {_SAY}, in their order",
    )


def _is_parameter(model: Model, output: int) -> bool:
    """Whether an output is a constant as it was learnt, which could as well be negative."""
    return model.graph.outputs[output] in model.graph.constants


def _check_sign(model: Model, output: int, spread: Spread) -> None:
    """UserError if a name says variance or standard deviation, and the output can be negative."""
    if not spread.never_negative:
        return
    for member in model.members:
        value = member.outputs[output]
        if not intervals(member)[value].never_negative:
            name = (model.head.outputs or ("", "", ""))[output] or value.name
            raise UserError(
                f"the output {name!r} can be negative, and no {_WORDS[spread]} is",
                place=_TASK,
                remedy=f"say what it is with {_SAY}, or end it in softplus or exp",
            )
