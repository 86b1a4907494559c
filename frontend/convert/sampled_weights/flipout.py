"""Flipout: mean(x) + s_out * perturbation(x * s_in), with random signs s for each row.

The weights of the perturbation are sigma * eps, and s_out * eps * s_in has the distribution of eps.
So each row has the distribution that it has under the weights mu + sigma * eps, and the graph
computes with those. Rows of one batch now share their weights.

This needs one sign for each input and output feature, or channel. With a sign for each pixel or
position, these no longer share their weights. Such signs are drawn, and multiply activations.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from qbnnc.frontend.convert.call import Call
from qbnnc.frontend.convert.sampled_weights.noise_values import sources
from qbnnc.frontend.convert.sampled_weights.weights import Weight
from qbnnc.frontend.convert.tracked import (
    Activation,
    AnyActivation,
    DropoutMask,
    Flipped,
    Noise,
    Perturbation,
    Product,
    Tracked,
)
from qbnnc.frontend.program.locations import Place
from qbnnc.frontend.program.random_ops import op_name
from qbnnc.ir.graph import Value
from qbnnc.ir.ops import Linear, Multiply, Op


def is_signs(tracked: Tracked) -> bool:
    """Whether these are random signs: sign(symmetric noise), or 2 * bernoulli(0.5) - 1."""
    match tracked:
        case Noise(source, torch._ops.OpOverload(), {"self": Noise() as drawn}):
            return op_name(source) == "sign" and _is_symmetric(drawn)
        case Noise(
            source,
            torch._ops.OpOverload(),
            {"self": DropoutMask(p=0.5, scale=2.0, others=()), "other": 1},
        ):
            return op_name(source) == "sub"
        case _:
            return False


def _is_symmetric(noise: Noise) -> bool:
    if noise.function is not None:
        return False
    match op_name(noise.source), noise.arguments:
        case "uniform", {"from": float() | int() as low, "to": float() | int() as high}:
            return bool(low == -high)
        case "randn" | "randn_like", _:
            return True
        case "normal" | "normal_functional", {"mean": 0 | 0.0}:
            return True
        case _:
            return False


def flipped(call: Call, x: AnyActivation, signs: Noise) -> Tracked:
    """x times random signs; x is the input of a perturbation, or its output."""
    if isinstance(x, Perturbation) and not _is_of_features(
        x.op, _axes(signs), len(call.shape()) - 1
    ):
        x = Activation(multiplied(call, x))
    value = None if isinstance(x, Perturbation) else call.context.value(x, call)
    rows, *shape = signs.source.meta["val"].shape
    rank = len(call.shape()) - 1
    if not call.context.is_batch(rows) or len(shape) != rank:
        call.fail(
            "random signs (Flipout) need a sign for each row of the batch, in as many axes as what "
            "they multiply"
        )
    if value is not None and call.row_shape() != value.type.shape:
        call.fail(f"random signs of shape {shape} repeat an activation along an axis")
    if value is not None:
        return Flipped(value, signs, _axes(signs))
    assert isinstance(x, Perturbation)
    if x.signs is not None:
        call.fail("Flipout multiplies the output of the perturbation by random signs once")
    return replace(x, signs=signs)


def _axes(signs: Noise) -> tuple[int, ...]:
    """The axes of a row along which random signs vary."""
    _, *shape = signs.source.meta["val"].shape
    return tuple(axis for axis, extent in enumerate(shape) if extent != 1)


def multiplied(call: Call, perturbation: Perturbation) -> Value:
    """The perturbation of an input that is multiplied by its signs, which are drawn."""
    signs = call.context.value(perturbation.flipped, call)
    place = perturbation.place
    x = call.context.build.emit(
        Multiply(), perturbation.x, signs, loc=place.loc, name=f"{place.name}.signs"
    )
    weight, bias = perturbation.weight, perturbation.bias
    return call.context.layer(place, perturbation.op, x, weight, bias)


def perturbed(
    call: Call, op: Op, x: Flipped, weight: Weight, bias: Weight | None
) -> Perturbation | None:
    """The layer between the signs; None if it is a layer like others, with drawn signs as input.

    CompileError unless its weights have mean zero.
    """
    if not _is_of_features(op, x.varies, len(x.x.type.shape)):
        return None
    if any(bool(each.mu.any()) for each in (weight, bias) if each is not None):
        call.fail(
            "is given an input with random signs, but its weights have a mean",
            "Flipout's signs belong around the layer of the perturbation alone",
        )
    if any(each.more for each in (weight, bias) if each is not None):
        call.fail(
            "is given an input with random signs, and its weights have correlated noise",
            "Flipout's signs make independent noise of independent noise alone",
        )
    return Perturbation(op, x.x, weight, bias, call.place(), x.signs)


def _is_of_features(op: Op, varies: tuple[int, ...], rank: int) -> bool:
    """Whether signs vary along features (the last axis) or channels (the first) only."""
    features = rank - 1 if isinstance(op, Linear) else 0
    return all(axis == features for axis in varies)


def joined(call: Call, mean: Tracked, added: Perturbation) -> Activation:
    """The layer with the mean of `mean` and the noise of `added`."""
    if added.signs is None:
        call.fail("Flipout needs random signs on the output of the perturbation, too")
    place, weight, bias = _mean(call, mean, added)
    if weight.is_random:
        call.fail("adds a Flipout perturbation to a layer whose weights are random already")
    _check_independent(call, added)
    own = replace(weight, sampling=added.weight.sampling)
    if added.bias is not None:
        bias = replace(bias, sampling=added.bias.sampling)
    around = (added.flipped.source, added.signs.source)
    call.context.leave_out(sources([added.flipped, added.signs]))
    parameters = call.context.parameters(place, own, bias, around)
    emit = call.context.build.emit
    return Activation(emit(added.op, added.x, *parameters, loc=place.loc, name=place.name))


def _check_independent(call: Call, added: Perturbation) -> None:
    """Raise CompileError if the signs are made of the noise that they multiply."""
    parts = [each for each in (added.weight, added.bias) if each is not None]
    noise = {source for part in parts for source in part.sources}
    if noise.intersection(sources([added.flipped, added.signs])):
        call.fail("Flipout's signs are made of the noise of the weights", "draw them independently")


def _mean(call: Call, mean: Tracked, added: Perturbation) -> tuple[Place, Weight, Weight]:
    """The place, weight and bias of the layer that computes the mean from the same input."""
    build = call.context.build
    match mean:
        case Product(x, weight, place) if x is added.x and added.op == Linear():
            return place, weight, Weight(torch.zeros(weight.shape[0]))
        case Activation(value) if (node := build.producer(value)) and node.op == added.op:
            arrays = [build.array(v) for v in node.inputs[1:]]
            found = [Weight(torch.from_numpy(a)) for a in arrays if a is not None]
            if node.inputs[0] is added.x and len(found) == 2:
                return Place(value.name, node.loc), found[0], found[1]
    call.fail(
        "adds a Flipout perturbation to something other than the same layer of the same input with "
        "the mean weights"
    )
