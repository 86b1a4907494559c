"""Weights and biases that passes rescale: constants, or sampled by mean and standard deviation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.graph import Builder, Node, Value
from qbnnc.ir.ops import SampledWeight
from qbnnc.ir.types import Array
from qbnnc.support.errors import CompileError, Loc

Float64 = NDArray[np.float64]

_DEVIATIONS = np.linspace(-3, 3, 13)


def constant(value: Value, build: Builder, loc: Loc) -> Float64:
    """The array of a constant, in float64; CompileError if it is computed."""
    array = build.array(value)
    if array is None:
        raise CompileError(f"{value.name} must be a constant, and is computed", loc)
    return array.astype(np.float64)


def float32_constant(name: str, array: Array, build: Builder) -> Value:
    """A constant rounded once to float32."""
    return build.constant(name, np.asarray(array, np.float32, order="C"))


def rescaled(
    parameter: Value, scale: Float64, shift: Float64 | float, build: Builder, loc: Loc
) -> Value:
    """parameter * scale + shift, `scale` and `shift` broadcasting against it.

    A sampled weight has its mean scaled and shifted, and its standard deviation scaled, sign
    included: others may take the same noise.
    """
    sampled = build.producer(parameter)
    if sampled is None or not isinstance(sampled.op, SampledWeight):
        wide = constant(parameter, build, loc) * scale + shift
        return float32_constant(parameter.name, wide, build)
    mu, sigma, *noise = sampled.inputs
    moved = (
        float32_constant(mu.name, constant(mu, build, loc) * scale + shift, build),
        float32_constant(sigma.name, constant(sigma, build, loc) * scale, build),
    )
    return build.emit(sampled.op, *moved, *noise, loc=sampled.loc, name=sampled.output.name)


def spread(parameter: Value, build: Builder, deviations: float) -> Array | None:
    """mu -+ deviations*|sigma| of a parameter, [2, *shape]; None if it is computed otherwise.

    A constant is [1, *shape], and not copied.
    """
    if (array := build.array(parameter)) is not None:
        return array[None]
    sampled = build.producer(parameter)
    if sampled is None or not isinstance(sampled.op, SampledWeight):
        return None
    mu, sigma = (source_constant(v, build) for v in sampled.inputs[:2])
    reach = deviations * np.abs(sigma)
    return np.stack([mu - reach, mu + reach])


def likely_values(parameter: Value, build: Builder) -> tuple[Array, Float64] | None:
    """Values of a parameter [K, *shape] and their probabilities [K]; None if it is computed.

    A constant has one value. A sampled parameter has mu + sigma*z for z from -3 to 3 in steps of
    0.5, with the probabilities of N(0, 1).
    """
    if (array := build.array(parameter)) is not None:
        return array[None], np.ones(1)
    sampled = build.producer(parameter)
    if sampled is None or not isinstance(sampled.op, SampledWeight):
        return None
    mu, sigma = (source_constant(v, build) for v in sampled.inputs[:2])
    density = np.exp(-(_DEVIATIONS**2) / 2)
    values = np.stack([mu + np.float32(z) * sigma for z in _DEVIATIONS])
    return values, density / density.sum()


def source_constant(value: Value, build: Builder) -> Array:
    """The constant itself, or the one a FakeQuantize rounds."""
    array, node = build.array(value), build.producer(value)
    if array is None and isinstance(node, Node):
        array = build.array(node.inputs[0])
    if array is None:
        raise CompileError("must be a constant, and is computed", value.name)
    return array
