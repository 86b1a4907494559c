"""Fold batch normalisation, scale and shift into the layer beside them."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.errors import CompileError
from qbnnc.ir.graph import Builder, Graph, Node, Value, rewrite
from qbnnc.ir.ops import Affine, BatchNorm, Conv2d, Linear, Mask
from qbnnc.passes.fold_dropout_scale import folds
from qbnnc.passes.parameters import constant, float32_constant, rescaled
from qbnnc.passes.peephole import rewrite_pairs

Float64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class FoldAffine:
    """BatchNorm and Affine disappear, but for one Affine that alone reads the network's input.

    1. y = BatchNorm(x) is the Affine scale*x + shift, with scale = weight/sqrt(var + eps) and
       shift = bias - scale*mean.
    2. After another Affine that nothing else reads: the two are one.
    3. After a linear layer or convolution that nothing else reads, one scale and shift a channel:
       weight_n *= scale_n, bias_n = scale_n*bias_n + shift_n; of sampled weights mu *= scale_n and
       sigma *= scale_n, whose sign it keeps.
    4. Before a linear layer that alone reads it: bias_n += sum_k weight_nk*shift_k, weight_nk *=
       scale_k. Not for an Affine that reads the input: the input quantiser does it.
    5. On [C, H, W] anywhere else: a depthwise 1x1 convolution.
    6. A mask whose factor is not positive, and is not for fold-dropout-scale, has the factor's
       size; its sign (or 0) is an Affine before the mask.
    7. Otherwise declined, with an error at the module.

    Each step is computed in float64 and rounded to float32; the oracle is the same to rounding.
    """

    name: str = "fold-affine"

    def __call__(self, graph: Graph, /) -> Graph:
        graph = rewrite(graph, _lower_batch_norm)
        graph = rewrite_pairs(graph, _folds_backward, _fold_backward)
        kept_masks = {n.output for n in graph.nodes if isinstance(n.op, Mask) and folds(graph, n)}
        graph = rewrite(graph, lambda node, build: _lower_mask_sign(node, build, kept_masks))
        graph = rewrite_pairs(graph, _folds_backward, _fold_backward)
        entry = graph.input
        graph = rewrite_pairs(
            graph,
            lambda a, b: _folds_forward(a, b) and a.inputs[0].name != entry.name,
            _fold_forward,
        )
        reader = graph.only_reader(graph.input)
        kept = None if reader is None else reader.output
        return rewrite(graph, lambda node, build: _rest(node, build, kept))


def _lower_mask_sign(node: Node, build: Builder, kept: Container[Value]) -> Value | None:
    """Rule 6: no max pool and no scale of codes may be multiplied by a factor below 0."""
    if not isinstance(node.op, Mask) or node.op.scale > 0 or node.output in kept:
        return None
    x, mask = node.inputs
    sign = np.full([1] * len(x.type.shape), np.sign(node.op.scale))
    name = f"{node.output.name}.sign"
    signed = _emit_affine(x, sign, np.zeros_like(sign), node, build, name)
    op = Mask(abs(node.op.scale) or 1.0)
    return build.emit(op, signed, mask, loc=node.loc, name=node.output.name)


def _lower_batch_norm(node: Node, build: Builder) -> Value | None:
    """Rule 1."""
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
    if isinstance(before.op, Affine):
        return True
    return isinstance(before.op, Linear | Conv2d) and _is_per_channel(after)


def _fold_backward(before: Node, after: Node, build: Builder) -> Value:
    """Rules 2 and 3."""
    scale, shift = _constants(after, build)
    if isinstance(before.op, Affine):
        first, offset = _constants(before, build)
        return _emit_affine(before.inputs[0], scale * first, scale * offset + shift, after, build)
    x, weight, bias = before.inputs
    channels = scale.reshape(-1, *[1] * (len(weight.type.shape) - 1))
    parameters = (
        rescaled(weight, channels, 0.0, build, before.loc),
        rescaled(bias, scale.reshape(-1), shift.reshape(-1), build, before.loc),
    )
    return build.emit(before.op, x, *parameters, loc=before.loc, name=before.output.name)


def _folds_forward(before: Node, after: Node) -> bool:
    return isinstance(before.op, Affine) and isinstance(after.op, Linear)


def _fold_forward(before: Node, after: Node, build: Builder) -> Value:
    """Rule 4."""
    scale, shift = _constants(before, build)
    _, weight, bias = after.inputs
    parameters = [rescaled(weight, scale, 0.0, build, after.loc), bias]
    if shift.any():
        moved = (constant(weight, build, after.loc) * shift).sum(axis=1)
        parameters[1] = rescaled(bias, np.ones(1), moved, build, after.loc)
    x = before.inputs[0]
    return build.emit(after.op, x, *parameters, loc=after.loc, name=after.output.name)


def _rest(node: Node, build: Builder, kept: Value | None) -> Value | None:
    """Rules 5 and 7."""
    if not isinstance(node.op, Affine) or node.output is kept:
        return None
    shape = node.output.type.shape
    if len(shape) != 3 or not _is_per_channel(node):
        raise CompileError(
            "a scale or shift that stands alone between two layers cannot be folded: move it into "
            "the linear layer or convolution before or after it",
            node.loc,
        )
    scale, shift = (np.broadcast_to(a.reshape(-1), shape[:1]) for a in _constants(node, build))
    weight = float32_constant(f"{node.output.name}.weight", scale.reshape(-1, 1, 1, 1), build)
    bias = float32_constant(f"{node.output.name}.bias", shift, build)
    op = Conv2d(groups=shape[0])
    return build.emit(op, node.inputs[0], weight, bias, loc=node.loc, name=node.output.name)


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
