"""Ops with other fields than a compiler would choose: small and odd, so that graphs stay valid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import TypedDict

from qbnnc.ir.ops import (
    ChoiceIndex,
    ClampCodes,
    Concat,
    Conv2dInteger,
    Dequantize,
    EpsCodes,
    Gather,
    InsertZeros,
    KeepMask,
    LinearInteger,
    MatMulInteger,
    MaxPool2d,
    MaxUnpool,
    NoiseCodes,
    NormalizeInteger,
    Op,
    Pad,
    PairwiseQuantized,
    Part,
    QuantizeInput,
    Requantize,
    Reshape,
    Select,
    Slice,
    SoftmaxInteger,
    SumOfProductsInteger,
    SumPoolInteger,
    Transpose,
    UpsampleNearest,
)
from qbnnc.ir.types import DType, QuantParams, TensorType


class Window(TypedDict):
    """The attributes by which a window moves."""

    stride: tuple[int, int]
    padding: tuple[int, int, int, int]
    dilation: tuple[int, int]


class Ends(TypedDict):
    """The attributes of a clamp."""

    low: int
    high: int


_PROBABILITIES = (0.0, 1e-9, 0.25, 0.5, 0.9, 0.99999, 1 - 2**-17, 1 - 2**-53)


def edited(op: Op, rng: Random, inputs: Sequence[TensorType]) -> Op:
    """The op with a field or two changed; the same where there is nothing to change."""
    match op:
        case Conv2dInteger():
            return replace(op, **_window(rng), folded=rng.choice((op.folded, not op.folded)))
        case LinearInteger():
            return LinearInteger(not op.folded)
        case MaxPool2d() | SumPoolInteger():
            kernel = (rng.choice((1, 2, 3, 5)), rng.choice((1, 2, 3, 4)))
            return replace(op, kernel=kernel, **_window(rng))
        case MaxUnpool():
            return MaxUnpool((rng.choice((1, 2, 3, 2**31)), rng.choice((1, 2, 4))))
        case Requantize() | PairwiseQuantized():
            return replace(op, **_ends(rng, op.quant))
        case MatMulInteger():
            factor = rng.choice((op.factor, 1e-30, 1e30))
            return MatMulInteger(rng.choice((op.transposed, not op.transposed)), factor)
        case SumOfProductsInteger(codes):
            scales = (*codes.scale, 1e-30, 1.0, 1e30)
            ends = rng.choice(((codes.low, codes.high), (-(2**31), 2**31 - 1), (0, 255)))
            changed = replace(codes, scale=(rng.choice(scales),), low=ends[0], high=ends[1])
            return SumOfProductsInteger(changed)
        case SoftmaxInteger():
            multiplier = rng.choice((op.multiplier, 1.0, 1e-38, 1e30, 3.4e38))
            return replace(op, multiplier=multiplier, **_ends(rng, op.quant))
        case NormalizeInteger():
            return _norm(rng, op)
        case Part():
            return replace(op, start=rng.choice((op.start, 0, 1, 2**62)))
        case QuantizeInput():
            return replace(op, offset=(rng.choice((0.0, -0.0, 1e-45, 0.5, -3e38)),))
        case KeepMask():
            p = rng.choice(_PROBABILITIES)
            return replace(op, p=p, shared=rng.random() < 0.3, inverted=rng.random() < 0.3)
        case EpsCodes():
            return replace(op, stream=rng.choice((op.stream, 2**32 - 1)))
        case NoiseCodes():
            return _noise(rng, op)
        case ChoiceIndex():
            return replace(op, shared=rng.random() < 0.7)
        case Select():
            scales = (1.0, 2.0, 1 / 0.7, 1e-30, 1e30)
            return Select(rng.choice(scales if inputs[0].dtype is DType.U8 else (1.0,)))
        case Concat():
            return Concat(rng.randrange(3))
        case ClampCodes():
            quant = inputs[0].quant
            return op if quant is None else replace(op, **_ends(rng, quant))
        case Reshape() | Transpose() | Slice() | Gather() | Pad() | InsertZeros():
            return inserted(rng, inputs[0])
        case UpsampleNearest() | Dequantize():
            return inserted(rng, inputs[0]) if rng.random() < 0.5 else op
    return op


def inserted(rng: Random, x: TensorType) -> Op:
    """An op that takes codes of this type and gives codes; it may not fit."""
    rank = max(1, len(x.shape))
    axis = rng.randrange(rank)
    extent = x.shape[axis] if x.shape else 1
    small = (0, 0, 1, 2, 3, 7)
    quant = x.quant
    bounds: Ends = {"low": 0, "high": 1} if quant is None else _ends(rng, quant)
    return rng.choice(
        (
            ClampCodes(**bounds),
            Reshape(rng.choice(((x.size,), (1, x.size), (x.size, 1, 1), (1, 1, x.size), x.shape))),
            Transpose(tuple(rng.sample(range(rank), rank))),
            Slice(
                axis,
                rng.choice((0, 1, -1, -extent)),
                rng.choice((1, extent, 99, -1)),
                rng.choice((1, 2, 5)),
            ),
            Pad((rng.choice(small), rng.choice(small), rng.choice(small), rng.choice(small))),
            InsertZeros((rng.choice((1, 2, 3)), rng.choice((1, 2, 4)))),
            UpsampleNearest((rng.choice((1, 2, 3)), rng.choice((1, 2, 4)))),
            Gather(
                axis, tuple(rng.randrange(extent) for _ in range(rng.choice((1, 2, extent + 1))))
            ),
            MaxPool2d((rng.choice((1, 2, 3)), rng.choice((1, 2, 3))), **_window(rng)),
        )
    )


def _window(rng: Random) -> Window:
    """stride, padding and dilation of a window."""

    def some(*options: int) -> int:
        return rng.choice((options[0], options[0], *options))

    return {
        "stride": (some(1, 2, 3, 5, 9), some(1, 2, 3, 4)),
        "padding": (some(0, 1, 2, 7), some(0, 1, 3, 5), some(0, 1, 2, 6), some(0, 1, 4)),
        "dilation": (some(1, 2, 3, 5), some(1, 2, 4)),
    }


def _noise(rng: Random, op: NoiseCodes) -> NoiseCodes:
    """Noise of other rows, of which some codes always come, or never."""
    most, lanes = 2**16, rng.choice(((0,), (2**16,), (1, 2**16 - 1), range(2**16 + 1)))
    thresholds = sorted(min(most, rng.choice(lanes)) for _ in op.thresholds)
    return replace(
        op,
        thresholds=tuple(thresholds),
        shared=rng.random() < 0.3,
        inverted=rng.random() < 0.5,
    )


def _norm(rng: Random, op: NormalizeInteger) -> NormalizeInteger:
    """A norm over other axes, or with a divisor near the ends of what it may be."""
    return replace(
        op,
        axes=rng.choice((op.axes, 1, 2, 3)),
        eps=rng.choice((op.eps, 0.0, 2.0**-200, 2.0**200)),
        outer_eps=rng.choice((op.outer_eps, 0.0, 5e-324, 2.0**100)),
        floor=rng.choice((op.floor, 2.0**-100, 2.0**100)),
        centred=rng.random() < 0.5,
        **_ends(rng, op.quant),
    )


def _ends(rng: Random, quant: QuantParams) -> Ends:
    """low and high of a clamp, within the codes: all of them, one, or some."""
    low = rng.choice((quant.low, quant.low, quant.zero_point[0], quant.high))
    high = rng.choice((quant.high, quant.high, quant.zero_point[0], low))
    return {"low": min(low, high), "high": max(low, high)}
