"""Inputs of ops for tests: reals, codes, weights and constants, [*shape] of one row."""

from __future__ import annotations

import numpy as np

from qbnnc.ir.ops import Tensor
from qbnnc.ir.ops.choice import index_range
from qbnnc.ir.types import (
    CONSTANT,
    PER_ROW,
    PER_SAMPLE,
    Array,
    Axes,
    DType,
    QuantParams,
    TensorType,
)

GRID = QuantParams((0.125,), (3,), 0, 127)
OTHER = QuantParams((0.25,), (5,), 0, 127)
WEIGHT = QuantParams((0.5,), (0,), -127, 127)
TO_CODES = QuantParams((0.5,), (7,), 0, 127)


def tensor(array: Array, axes: Axes = PER_ROW, quant: QuantParams | None = None) -> Tensor:
    """An array [*shape] of one row of one sample."""
    type_ = TensorType(DType.of(array.dtype), array.shape, axes, quant)
    return Tensor(array[None, None], type_)


def reals(*shape: int, seed: int = 0, axes: Axes = PER_ROW) -> Tensor:
    return tensor(np.random.default_rng(seed).normal(size=shape).astype(np.float32), axes)


def on_grid(*shape: int, seed: int = 0) -> Tensor:
    """Float32 numbers on GRID: a simulated value."""
    codes = np.random.default_rng(seed).integers(0, 20, shape)
    return tensor(((codes - 3) * 0.125).astype(np.float32), quant=GRID)


def codes(*shape: int, seed: int = 0, quant: QuantParams = GRID) -> Tensor:
    codes = np.random.default_rng(seed).integers(1, 128, shape).astype(np.uint8)
    return tensor(codes, quant=quant)


def constant(array: Array, quant: QuantParams | None = None) -> Tensor:
    return tensor(array, CONSTANT, quant)


def weight(*shape: int, axes: Axes = CONSTANT, quant: QuantParams = WEIGHT) -> Tensor:
    codes = np.random.default_rng(9).integers(-90, 91, shape).astype(np.int8)
    return tensor(codes, axes, quant)


def parameters(*shape: int) -> tuple[Tensor, Tensor]:
    return reals(*shape, seed=1, axes=CONSTANT), reals(shape[0], seed=2, axes=CONSTANT)


def integer_parameters(*shape: int) -> tuple[Tensor, Tensor]:
    bias = np.arange(shape[0], dtype=np.int32)
    return weight(*shape), constant(bias, QuantParams((0.0625,), (0,), -(2**30), 2**30))


def accumulators() -> Tensor:
    quant = QuantParams((0.0625,), (0,), -(2**31), 2**31 - 1)
    return tensor(np.arange(-90, 6, dtype=np.int32).reshape(4, 4, 6), quant=quant)


def state(*shape: int, scale: float) -> Tensor:
    """A carried state, with both of its ends among its codes."""
    codes = np.random.default_rng(7).integers(-32767, 32768, shape).astype(np.int32)
    codes.flat[:2] = -32767, 32767
    return tensor(codes, quant=QuantParams((scale,), (0,), -32767, 32767))


def mask(*shape: int) -> Tensor:
    keep = np.random.default_rng(4).integers(0, 2, shape).astype(np.uint8)
    return tensor(keep, PER_ROW)


def channels(number: float) -> Tensor:
    return constant(np.full(4, number, np.float32))


def index(number: int, count: int) -> Tensor:
    return tensor(np.array([number], np.int32), PER_SAMPLE, index_range(count))


def ids(*shape: int, rows: int) -> Tensor:
    ids = np.random.default_rng(6).integers(0, rows, shape)
    return tensor(ids.astype(np.float32))


def table(*shape: int) -> Tensor:
    codes = np.random.default_rng(7).integers(0, 128, shape).astype(np.uint8)
    return constant(codes, GRID)
