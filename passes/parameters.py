"""Weights and biases that passes rescale.

They are constants, one of several constants (Choice), samples by mean and standard deviation, or
one of these under a mask (DropConnect).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.graph import Builder, Node, Value
from qbnnc.ir.ops import Choice, Mask, SampledWeight
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
    included: others may take the same noise. All members of a choice are scaled and shifted.
    CompileError for a shift under a mask, which would drop the shift too.
    """
    made = build.producer(parameter)
    match None if made is None else made.op:
        case SampledWeight() if made is not None:
            mu, sigma, *rest = made.inputs
            moved = [
                float32_constant(mu.name, constant(mu, build, loc) * scale + shift, build),
                float32_constant(sigma.name, constant(sigma, build, loc) * scale, build),
            ]
        case Choice() if made is not None:
            values, *rest = made.inputs
            wide = constant(values, build, loc) * scale + shift
            moved = [float32_constant(values.name, wide, build)]
        case Mask() if made is not None:
            if np.any(shift):
                raise CompileError(
                    "a mask drops elements of a bias, and a shift follows the layer",
                    loc,
                    remedy="leave the bias without a mask",
                )
            whole, *rest = made.inputs
            moved = [rescaled(whole, scale, 0.0, build, loc)]
        case _:
            wide = constant(parameter, build, loc) * scale + shift
            return float32_constant(parameter.name, wide, build)
    return build.emit(made.op, *moved, *rest, loc=made.loc, name=made.output.name)


def spread(parameter: Value, build: Builder, deviations: float) -> Array | None:
    """Numbers that a parameter lies between, [K, *shape]; None if it is computed otherwise.

    A constant is [1, *shape], and not copied. A sample has mu -+ deviations*|sigma|, and a choice
    each of its members. A mask adds 0.
    """
    if (array := build.array(parameter)) is not None:
        return array[None]
    made = build.producer(parameter)
    match None if made is None else made.op:
        case SampledWeight() if made is not None:
            mu, sigma = (source_constant(v, build) for v in made.inputs[:2])
            reach = deviations * np.abs(sigma)
            return np.stack([mu - reach, mu + reach])
        case Choice() if made is not None:
            return source_constant(made.inputs[0], build)
        case Mask() if made is not None:
            whole = spread(made.inputs[0], build, deviations)
            return None if whole is None else np.concatenate([whole, np.zeros_like(whole[:1])])
    return None


def likely_values(parameter: Value, build: Builder) -> tuple[Array, Float64] | None:
    """Values of a parameter [K, *shape] and their probabilities [K]; None if it is computed.

    A constant has one value, and a choice each of its members alike. A sampled parameter has
    mu + sigma*z for z from -3 to 3 in steps of 0.5, with the probabilities of N(0, 1). The 0 of a
    mask has no error, and so no part in this.
    """
    if (array := build.array(parameter)) is not None:
        return array[None], np.ones(1)
    made = build.producer(parameter)
    match None if made is None else made.op:
        case SampledWeight() if made is not None:
            mu, sigma = (source_constant(v, build) for v in made.inputs[:2])
            density = np.exp(-(_DEVIATIONS**2) / 2)
            values = np.stack([mu + np.float32(z) * sigma for z in _DEVIATIONS])
            return values, density / density.sum()
        case Choice() if made is not None:
            values = source_constant(made.inputs[0], build)
            return values, np.full(len(values), 1 / len(values))
        case Mask() if made is not None:
            return likely_values(made.inputs[0], build)
    return None


def source_constant(value: Value, build: Builder) -> Array:
    """The constant itself, or the one a FakeQuantize rounds."""
    array, node = build.array(value), build.producer(value)
    if array is None and isinstance(node, Node):
        array = build.array(node.inputs[0])
    if array is None:
        raise CompileError("must be a constant, and is computed", value.name)
    return array
