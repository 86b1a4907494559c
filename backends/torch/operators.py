"""The ops of the FLOAT and SIMULATED stages in PyTorch.

Tensors are [B, *shape], f32 (masks u8, indices of choices i64). They have 1 in place of B where a
value does not vary with the row, so that they broadcast. There is no axis for samples: one call is
one sample.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from qbnnc.backends.torch.functions import pointwise
from qbnnc.ir.graph import Node
from qbnnc.ir.ops import (
    Affine,
    AveragePool2d,
    BatchNorm,
    Choice,
    Clamp,
    Composite,
    Concat,
    Conv2d,
    Embedding,
    Gather,
    Linear,
    Mask,
    MatMul,
    MaxPool2d,
    MaxUnpool,
    Move,
    Multiply,
    Normalize,
    Pairwise,
    Part,
    Reshape,
    SampledWeight,
    ScaledSoftmax,
    Softmax,
    SumOfProducts,
    Unary,
)
from qbnnc.ir.ops.normalize import LEAST_VARIANCE
from qbnnc.ir.ops.sum_of_products import pairs
from qbnnc.support.errors import CompileError


def apply(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    """The value of a deterministic node; CompileError for an op of the INTEGER stage."""
    match node.op:
        case Linear():
            x, weight, bias = inputs
            return F.linear(x, weight[0], bias[0])
        case Conv2d() as op:
            return _convolve(op, *inputs)
        case MaxPool2d() as op:
            return _max_pool(op, inputs[0])
        case AveragePool2d() as op:
            return _average_pool(op, inputs[0])
        case Clamp(None, None):
            return inputs[0]
        case Clamp(low, high):
            return inputs[0].clamp(low, high)
        case (Unary() | Composite()) as op:
            return pointwise(op, inputs[0])
        case Softmax(axis, log):
            return (F.log_softmax if log else F.softmax)(inputs[0], dim=axis + 1)
        case ScaledSoftmax(factor):
            return _scaled_softmax(factor, *inputs)
        case Mask(scale):
            return inputs[0] * (inputs[1] * scale)
        case Part() as op:
            part = inputs[0][:, op.start : op.start + math.prod(op.shape)]
            return part.reshape(len(part), *op.shape)
        case Reshape(shape):
            return inputs[0].reshape(len(inputs[0]), *shape)
        case _:
            return _combined(node, inputs)


def _combined(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    match node.op:
        case (Pairwise() | Multiply()) as op:
            combine: Callable[..., Tensor] = getattr(torch, op.name)  # add, multiply, ...
            return combine(*inputs)
        case SumOfProducts():
            first, *others = (a * b for a, b in pairs(tuple(inputs)))
            return sum(others, start=first)
        case MatMul(transposed, factor):
            a, b = inputs
            return torch.matmul(a, b.mT if transposed else b) * factor
        case Affine():
            x, *constants = inputs
            scale, shift = (c.reshape(1, *[1] * (x.ndim - c.ndim), *c.shape[1:]) for c in constants)
            return x * scale + shift
        case BatchNorm(eps):
            x, weight, bias, mean, variance = inputs
            return F.batch_norm(x, mean[0], variance[0], weight[0], bias[0], eps=eps)
        case MaxUnpool(kernel):
            return _unpool(kernel, *inputs)
        case Embedding():
            ids, table = inputs
            return F.embedding(_rows(ids, table.shape[1]), table[0])
        case Normalize() as op:
            return _normalised(op, *inputs)
        case Choice():
            values, index = inputs
            return values[0].index_select(0, index.reshape(-1).long())
        case Concat(axis):
            rows = max(len(i) for i in inputs)
            whole = [i.expand(rows, *i.shape[1:]) for i in inputs]
            return torch.cat(whole, dim=axis + 1)
        case SampledWeight():
            return _sampled(inputs[0], inputs[1], inputs[2], inputs[3:])
        case Gather(axis, indices):
            return inputs[0].index_select(axis + 1, torch.tensor(indices, device=inputs[0].device))
        case Move() as op:
            return _move(op, inputs[0])
    raise CompileError(f"{node.op.name} has no form in PyTorch", node.loc)


def _rows(ids: Tensor, rows: int) -> Tensor:
    """The row of a table that each id stands for; see `ir.ops.embedding.row_of`."""
    return torch.where(ids > 0, ids.clamp(max=rows - 1), 0.0).long()


def _convolve(op: Conv2d, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    padding, padded = _symmetric(op.padding), x
    if padding is None:
        padding, padded = (0, 0), F.pad(x, _torch_order(op.padding))
    return F.conv2d(padded, weight[0], bias[0], op.stride, padding, op.dilation, op.groups)


def _max_pool(op: MaxPool2d, x: Tensor) -> Tensor:
    if any(op.padding):
        x = F.pad(x, _torch_order(op.padding), value=-torch.inf)
    return F.max_pool2d(x, op.kernel, op.stride, dilation=op.dilation)


def _unpool(kernel: tuple[int, int], v: Tensor, x: Tensor) -> Tensor:
    rows = max(len(v), len(x))
    _, places = F.max_pool2d(x, kernel, return_indices=True)
    whole = v.expand(rows, *v.shape[1:]), places.expand(rows, *places.shape[1:])
    return F.max_unpool2d(*whole, kernel)


def _average_pool(op: AveragePool2d, x: Tensor) -> Tensor:
    height, width = x.shape[2:]
    padded = F.pad(x, _torch_order(op.padding)) if any(op.padding) else x
    counts = op.counts(height, width).astype(np.float32)
    if op.dilation != (1, 1):
        kernel = padded.new_ones(padded.shape[1], 1, *op.kernel)
        sums = F.conv2d(padded, kernel, None, op.stride, dilation=op.dilation, groups=len(kernel))
        return sums / torch.from_numpy(counts).to(x.device)
    if (counts == math.prod(op.kernel)).all():
        return F.avg_pool2d(padded, op.kernel, op.stride)
    sums = F.avg_pool2d(padded, op.kernel, op.stride, divisor_override=1)
    return sums / torch.from_numpy(counts).to(x.device)


def _normalised(op: Normalize, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    over = tuple(range(-op.axes, 0))
    moved = x - x.mean(over, keepdim=True) if op.centred else x
    variance = moved.square().mean(over, keepdim=True) + op.eps
    root = variance.clamp_min(LEAST_VARIANCE).sqrt() + op.outer_eps
    return moved / root.clamp_min(op.floor) * weight + bias


def _move(op: Move, x: Tensor) -> Tensor:
    """Elements by their numbers; number -1 is a zero appended to the row."""
    source = torch.from_numpy(op.source_of(tuple(x.shape[1:]))).to(x.device)
    flat = x.flatten(1)
    flat = torch.cat([flat, flat.new_zeros(len(flat), 1)], dim=1)
    places = torch.where(source < 0, flat.shape[1] - 1, source)
    return flat[:, places.flatten()].reshape(len(x), *source.shape)


def _sampled(mu: Tensor, sigma: Tensor, eps: Tensor, index: Sequence[Tensor]) -> Tensor:
    flat = eps.flatten()
    taken = flat[index[0].flatten().long()] if index else flat
    return mu + sigma * taken.reshape(mu.shape)


def _scaled_softmax(factor: float, x: Tensor, *constants: Tensor) -> Tensor:
    """Softmax over the last axis; a mask is u8, and a bias a float."""
    scores = x * factor
    for constant in constants:
        if constant.is_floating_point():
            scores = scores + constant
    for constant in constants:
        if not constant.is_floating_point():
            scores = scores.masked_fill(constant == 0, -torch.inf)
    return F.softmax(scores, dim=-1)


def _symmetric(padding: tuple[int, int, int, int]) -> tuple[int, int] | None:
    top, left, bottom, right = padding
    return (top, left) if (top, left) == (bottom, right) else None


def _torch_order(padding: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    top, left, bottom, right = padding
    return left, right, top, bottom
