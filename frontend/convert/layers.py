"""Linear layers and batch normalisation, in every spelling aten has for them."""

from __future__ import annotations

import torch
from torch import Tensor

from qbnnc.frontend.convert.call import Call
from qbnnc.frontend.convert.dense import dense
from qbnnc.frontend.convert.flipout import perturbed
from qbnnc.frontend.convert.rule import Rules
from qbnnc.frontend.convert.values import Flipped, Product, Row, Tracked
from qbnnc.ir.ops import BatchNorm, Linear


def linear(call: Call) -> Tracked:
    """Over the last axis. Without a bias it is a product, to which a bias may still be added."""
    weight, bias = call.weight("weight"), call.weight_or_none("bias")
    x = call.tracked("input")
    if isinstance(x, Flipped):
        return perturbed(call, Linear(), x, weight, bias)
    value = call.row("input")
    if weight.mu.ndim != 2:
        call.fail(f"has a weight of shape {list(weight.shape)}", "give it one of [outputs, inputs]")
    if bias is None:
        return Product(value, weight, call.place())
    return Row(dense(call.scope, call.place(), value, weight, bias))


def addmm(call: Call) -> Row:
    """beta * self + alpha * (mat1 @ mat2)."""
    weight = call.weight("mat2").moved(Tensor.t).scaled(call.number("alpha"))
    bias = call.weight("self").scaled(call.number("beta"))
    bias = bias.moved(lambda b: b.expand(weight.shape[0]))
    return Row(dense(call.scope, call.place(), call.row("mat1"), weight, bias))


def batch_norm(call: Call) -> tuple[Tracked, ...]:
    if call.flag("training") or call.arguments["running_mean"] is None:
        no_batch_statistics(call)
    x, mean = call.row("input"), call.fixed("running_mean")
    weight, bias = call.fixed_or_none("weight"), call.fixed_or_none("bias")
    constants = (
        call.constant("weight", torch.ones_like(mean) if weight is None else weight),
        call.constant("bias", torch.zeros_like(mean) if bias is None else bias),
        call.constant("mean", mean),
        call.constant("var", call.fixed("running_var")),
    )
    return (Row(call.emit(BatchNorm(call.number("eps")), x, *constants)),)


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
    "addmm": addmm,
    "batch_norm": whole_batch_norm,
    "linear": linear,
    "native_batch_norm": batch_norm,
}
