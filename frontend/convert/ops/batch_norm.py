"""Batch normalisation, in every spelling aten has for it."""

from __future__ import annotations

import torch

from qbnnc.frontend.convert import choices
from qbnnc.frontend.convert.call import Call, Rules
from qbnnc.frontend.convert.tracked import Activation, Chosen, Constant, Tracked
from qbnnc.ir.ops import BatchNorm


def batch_norm(call: Call) -> tuple[Tracked, ...]:
    if call.flag("training") or call.arguments["running_mean"] is None:
        no_batch_statistics(call)
    x, stats = call.row("input"), _chosen_statistics(call)
    if stats:
        return (choices.normalised(call, x, stats, call.number("eps")),)
    mean = call.fixed("running_mean")
    weight, bias = call.fixed_or_none("weight"), call.fixed_or_none("bias")
    constants = (
        call.constant("weight", torch.ones_like(mean) if weight is None else weight),
        call.constant("bias", torch.zeros_like(mean) if bias is None else bias),
        call.constant("mean", mean),
        call.constant("var", call.fixed("running_var")),
    )
    return (Activation(call.emit(BatchNorm(call.number("eps")), x, *constants)),)


def _chosen_statistics(call: Call) -> dict[str, Tracked]:
    """The statistics, scale and shift of a normalisation, if a random number chooses some."""
    names = {"mean": "running_mean", "var": "running_var", "weight": "weight", "bias": "bias"}
    given = {own: call.arguments[name] for own, name in names.items()}
    if not any(isinstance(each, Chosen) for each in given.values()):
        return {}
    defaults = {"weight": 1.0, "bias": 0.0}
    return {
        own: Constant(torch.tensor([defaults[own]])) if value is None else call.tracked(names[own])
        for own, value in given.items()
    }


def whole_batch_norm(call: Call) -> Tracked:
    """Before decomposition the op has one result."""
    return batch_norm(call)[0]


def no_batch_statistics(call: Call) -> Tracked:
    call.fail(
        "normalises with the statistics of the batch, which a row's prediction must not depend on",
        "call eval() on it (and do not set track_running_stats=False)",
    )


RULES: Rules = {
    "_native_batch_norm_legit": no_batch_statistics,
    "_native_batch_norm_legit_functional": no_batch_statistics,
    "_native_batch_norm_legit_no_training": batch_norm,
    "batch_norm": whole_batch_norm,
    "native_batch_norm": batch_norm,
}
