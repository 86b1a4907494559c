"""Fold batch normalisation, scale and shift into the layer beside them."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.graph import Builder, Graph, Node, Value, rewrite
from qbnnc.ir.inputs import input_values
from qbnnc.ir.ops import (
    Affine,
    BatchNorm,
    Contraction,
    Conv2d,
    Mask,
    Normalize,
    Op,
    Reshape,
    Transpose,
)
from qbnnc.passes.fusion.affine_values import Scaling
from qbnnc.passes.fusion.carry_affine import carry_down, carry_up, scaled_elements, take_below
from qbnnc.passes.fusion.fold_dropout_scale import folds
from qbnnc.passes.fusion.peephole import rewrite_pairs
from qbnnc.passes.parameters import constant, float32_constant

Float64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class FoldAffine:
    """BatchNorm and Affine disappear, but for one Affine an input that its quantiser can do.

    1. y = BatchNorm(x) is the Affine scale*x + shift, with scale = weight/sqrt(var + eps) and
       shift = bias - scale*mean.
    2. An Affine after another one that nothing else reads: the two are one.
    3. An Affine with one scale and shift a channel, after a linear layer or convolution that
       nothing else reads, is folded there: weight_n *= scale_n, bias_n = scale_n*bias_n + shift_n.
       A sampled weight has mu *= scale_n and sigma *= scale_n, whose sign it keeps. An Affine is
       carried up to the layer over reshapes and transposes, and over masks if it has no shift. One
       number for all elements is carried over moves, pools and clamps too. It moves the bounds of
       clamps, and exchanges them if it is negative. Only positive factors pass a max pool.
       A convolution with a constant weight takes scales of bands of rows or columns too: the rows
       of each band become channels (`fold_bands`). No codes are needed before the scales then.
       After a norm (Normalize) any scale and shift is folded into its weight and bias.
    4. An Affine before a linear layer that alone reads it is folded there: bias_n +=
       sum_k weight_nk*shift_k, weight_nk *= scale_k. It is carried down over reshapes and moves,
       and over masks if it has no shift. Declined for a shift before a sampled weight.
       A product of two matrices takes one positive factor, of what it reads or gives, as its own.
    5. An Affine that alone reads an input, with positive factors, one or one a channel, stays:
       the input's quantiser does it.
    6. A mask whose factor is not positive, and is not for fold-dropout-scale, gets the factor's
       absolute value. The sign (or 0) becomes an Affine before the mask.
    7. An Affine of one number for all elements anywhere else becomes a function of each element
       (fuse-elementwise).
    8. Any other becomes a depthwise 1x1 convolution, on a view [n, 1, rest] whose channels are all
       that have numbers of their own.

    Each step is computed in float64 and rounded to float32; the oracle is the same to rounding.
    """

    name: str = "fold-affine"

    def __call__(self, graph: Graph, /) -> Graph:
        graph = rewrite(graph, _lower_batch_norm)
        graph = rewrite_pairs(graph, _folds_backward, _fold_backward)
        graph = _fold(graph)
        kept_masks = {n.output for n in graph.nodes if isinstance(n.op, Mask) and folds(graph, n)}
        graph = rewrite(graph, lambda node, build: _lower_mask_sign(node, build, kept_masks))
        graph = _fold(graph)
        graph = _fold(_lower(graph, scalars=False))
        return _lower(graph, scalars=True)


def _fold(graph: Graph) -> Graph:
    """Apply rules 2 to 4 until nothing changes."""
    while True:
        down = carry_down(graph, _kept(graph))
        up = carry_up(down, _kept(down))
        if up is graph:
            return graph
        graph = up


def _lower(graph: Graph, *, scalars: bool) -> Graph:
    """Apply rules 5, 7 and 8; without `scalars` only rule 8."""
    kept = _kept(graph)

    def rule(node: Node, build: Builder) -> Value | None:
        if not isinstance(node.op, Affine):
            return None
        scaling = Scaling.of(node, graph.constants)
        if node.output in kept:
            return _emit_affine(node.inputs[0], scaling.scale, scaling.shift, node, build)
        if scaling.number is not None and not scalars:
            return None
        return lowered(node, scaling, build)

    return rewrite(graph, rule)


def _kept(graph: Graph) -> frozenset[Value]:
    """The outputs of the Affines that stay by rule 5."""
    readers = (graph.only_reader(value) for value in input_values(graph))
    return frozenset(
        node.output
        for node in readers
        if node is not None and isinstance(node.op, Affine) and is_preprocessing(graph, node)
    )


def _lower_mask_sign(node: Node, build: Builder, kept: Container[Value]) -> Value | None:
    """Apply rule 6: no max pool and no scale of codes may be multiplied by a factor below 0."""
    if not isinstance(node.op, Mask) or node.op.scale > 0 or node.output in kept:
        return None
    x, mask = node.inputs
    sign = np.full([1] * len(x.type.shape), np.sign(node.op.scale))
    name = f"{node.output.name}.sign"
    signed = _emit_affine(x, sign, np.zeros_like(sign), node, build, name)
    op = Mask(abs(node.op.scale) or 1.0)
    return build.emit(op, signed, mask, loc=node.loc, name=node.output.name)


def _lower_batch_norm(node: Node, build: Builder) -> Value | None:
    """Apply rule 1."""
    if not isinstance(node.op, BatchNorm):
        return None
    weight, bias, mean, var = (constant(v, build, node.loc) for v in node.inputs[1:])
    scale = weight / np.sqrt(var + node.op.eps)
    shape = (-1, *[1] * (len(node.output.type.shape) - 1))
    pair = scale.reshape(shape), (bias - scale * mean).reshape(shape)
    return _emit_affine(node.inputs[0], *pair, node, build)


def _folds_backward(before: Node, after: Node) -> bool:
    if not isinstance(after.op, Affine):
        return False
    if isinstance(before.op, Affine | Normalize):
        return True
    return isinstance(before.op, Contraction) and _is_per_channel(after)


def _fold_backward(before: Node, after: Node, build: Builder) -> Value:
    """Apply rules 2 and 3."""
    scale, shift = _constants(after, build)
    if isinstance(before.op, Affine):
        first, offset = _constants(before, build)
        return _emit_affine(before.inputs[0], scale * first, scale * offset + shift, after, build)
    return take_below(before, Scaling.made(after.output.type.shape, scale, shift), build)


def _is_per_channel(affine: Node) -> bool:
    """Whether scale and shift vary along axis 0 of the shape at most."""
    rank = len(affine.output.type.shape)
    shapes = (v.type.shape for v in affine.inputs[1:])
    return all(set(shape[-(rank - 1) :] if rank > 1 else ()) <= {1} for shape in shapes)


def _constants(affine: Node, build: Builder) -> tuple[Float64, Float64]:
    scale, shift = (constant(v, build, affine.loc) for v in affine.inputs[1:])
    return scale, shift


def _emit_affine(
    x: Value, scale: Float64, shift: Float64, node: Node, build: Builder, name: str = ""
) -> Value:
    name = name or node.output.name
    constants = (
        float32_constant(f"{name}.scale", scale, build),
        float32_constant(f"{name}.shift", shift, build),
    )
    return build.emit(Affine(), x, *constants, loc=node.loc, name=name)


def is_preprocessing(graph: Graph, affine: Node) -> bool:
    """Whether an input's quantiser can do an Affine.

    The Affine alone reads the input, with positive factors, one or one a channel.
    """
    scaling, x = Scaling.of(affine, graph.constants), affine.inputs[0]
    alone = x in input_values(graph) and graph.only_reader(x) is affine
    return alone and scaling.per_channel and bool((scaling.scale > 0).all())


def lowered(affine: Node, scaling: Scaling, build: Builder) -> Value:
    """The Affine as a function of each element, or as a depthwise 1x1 convolution.

    It is a function if one number scales all elements and one shifts all. In the convolution
    everything that has its own numbers is a channel.
    """
    number = scaling.number
    if number is not None:
        return scaled_elements(affine.inputs[0], number, affine, build)
    shape, axes = scaling.shape, scaling.axes
    if len(shape) == 3 and axes == (0,):
        return _emitted(affine, [_depthwise(shape[0])], scaling, build)
    order = (*axes, *(axis for axis in range(len(shape)) if axis not in axes))
    turned = tuple(shape[axis] for axis in order)
    channels = prod(turned[: len(axes)])
    ops: list[Op] = [Reshape((channels, 1, prod(turned[len(axes) :])))]
    ops += [_depthwise(channels), Reshape(turned)]
    if list(order) != sorted(order):
        ops = [Transpose(order), *ops, Transpose(tuple(int(i) for i in np.argsort(order)))]
    return _emitted(affine, ops, scaling, build)


def _depthwise(channels: int) -> Conv2d:
    return Conv2d(groups=channels)


def _emitted(affine: Node, ops: list[Op], scaling: Scaling, build: Builder) -> Value:
    """The ops one after the other, the last of them under the name of the Affine."""
    value, name = affine.inputs[0], affine.output.name
    for number, op in enumerate(ops, start=1):
        inputs = _parameters(name, scaling, build) if isinstance(op, Conv2d) else ()
        step = name if number == len(ops) else f"{name}.{op.name}"
        value = build.emit(op, value, *inputs, loc=affine.loc, name=step)
    return value


def _parameters(name: str, scaling: Scaling, build: Builder) -> tuple[Value, Value]:
    """Weight and bias of the convolution, channels in the order of the axes that vary."""
    lengths = tuple(scaling.shape[axis] for axis in scaling.axes)
    rest = tuple(axis for axis in range(len(scaling.shape)) if axis not in scaling.axes)
    scale, shift = (
        np.broadcast_to(a.squeeze(rest), lengths).reshape(-1)
        for a in (scaling.scale, scaling.shift)
    )
    weight = float32_constant(f"{name}.weight", scale.reshape(-1, 1, 1, 1), build)
    return weight, float32_constant(f"{name}.bias", shift, build)
