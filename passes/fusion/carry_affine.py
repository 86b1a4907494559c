"""Carry scale and shift over what lies between them and a layer that can take them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.graph import Builder, Graph, Node, Value, rewrite
from qbnnc.ir.ops import (
    Affine,
    AveragePool2d,
    Clamp,
    Composite,
    Contraction,
    Linear,
    Mask,
    MatMul,
    MaxPool2d,
    Normalize,
    Op,
    Operation,
    Pointwise,
    Rearrangement,
    Step,
)
from qbnnc.passes.fusion.affine_values import Scaling
from qbnnc.passes.fusion.fold_bands import bands_of, take_bands
from qbnnc.passes.parameters import constant, float32_constant, rescaled

Float64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Carried:
    """An Affine that is carried to another node.

    `passed` holds the ops it has passed as they are then. `target` is the output of the node that
    takes it, as the scaling `scaling`.
    """

    affine: Value
    passed: Mapping[Value, Op]
    target: Value
    scaling: Scaling


Take: TypeAlias = Callable[[Node, Scaling, Builder], Value]


def carry_up(graph: Graph, kept: Collection[Value]) -> Graph:
    """Fold each Affine that can be carried up to what takes it, but the `kept`.

    That is a layer, a norm, a function, another Affine, or a product of two matrices.

    It passes rearrangements, clamps, masks and pools that nothing else reads, as `_raised` says.
    """
    producers, readers = graph.producers(), _read_once(graph)
    for value in kept:
        del producers[value]
    affines = (node for node in graph.nodes if isinstance(node.op, Affine))
    found = (_upwards(node, graph, producers, readers) for node in affines)
    return _apply(graph, [c for c in found if c is not None], take_below)


def carry_down(graph: Graph, kept: Collection[Value]) -> Graph:
    """Fold each Affine but the `kept` that can be carried down to a linear layer, its only reader.

    It passes rearrangements, and masks if it does not shift. A product of two matrices takes one
    positive factor.
    """
    readers = _read_once(graph)
    affines = (n for n in graph.nodes if isinstance(n.op, Affine) and n.output not in kept)
    found = (_downwards(node, graph, readers) for node in affines)
    return _apply(graph, [c for c in found if c is not None], take_above)


def take_below(layer: Node, scaling: Scaling, build: Builder) -> Value:
    """The layer or norm with the scaling of its outputs in weight and bias.

    A function of each element gets another one behind it.
    """
    if isinstance(layer.op, Pointwise):
        number = scaling.number
        assert number is not None
        value = build.emit(layer.op, *layer.inputs, loc=layer.loc, name=layer.output.name)
        return scaled_elements(value, number, layer, build)
    if isinstance(layer.op, Affine):
        return _joined(layer, scaling, build)
    if isinstance(layer.op, MatMul):
        return _multiplied(layer, layer.op, scaling, build)
    x, weight, bias = layer.inputs
    if isinstance(layer.op, Normalize):
        return _normalised(layer, scaling, build)
    if not scaling.per_channel:
        return take_bands(layer, scaling, build)
    scale, shift = (a.reshape(-1) for a in (scaling.scale, scaling.shift))
    channels = scale.reshape(-1, *[1] * (len(weight.type.shape) - 1))
    parameters = (
        rescaled(weight, channels, 0.0, build, layer.loc),
        rescaled(bias, scale, shift, build, layer.loc),
    )
    return build.emit(layer.op, x, *parameters, loc=layer.loc, name=layer.output.name)


def _normalised(norm: Node, scaling: Scaling, build: Builder) -> Value:
    """A norm with the scaling in its weight and bias, which broadcast as the scaling does."""
    x, weight, bias = norm.inputs
    parameters = (
        rescaled(weight, scaling.scale, 0.0, build, norm.loc),
        rescaled(bias, scaling.scale, scaling.shift, build, norm.loc),
    )
    return build.emit(norm.op, x, *parameters, loc=norm.loc, name=norm.output.name)


def _joined(affine: Node, scaling: Scaling, build: Builder) -> Value:
    """One Affine in place of two."""
    first, offset = (constant(v, build, affine.loc) for v in affine.inputs[1:])
    both = (
        ("scale", scaling.scale * first),
        ("shift", scaling.scale * offset + scaling.shift),
    )
    name = affine.output.name
    constants = (float32_constant(f"{name}.{what}", array, build) for what, array in both)
    return build.emit(affine.op, affine.inputs[0], *constants, loc=affine.loc, name=name)


def _multiplied(product: Node, op: MatMul, scaling: Scaling, build: Builder) -> Value:
    """A product of two matrices with the one factor of its result; the shift follows it."""
    name, loc = product.output.name, product.loc
    scaled = replace(op, factor=op.factor * scaling.scale.item())
    if not scaling.shift.any():
        return build.emit(scaled, *product.inputs, loc=loc, name=name)
    value = build.emit(scaled, *product.inputs, loc=loc, name=f"{name}.product")
    both = (("scale", np.ones_like(scaling.scale)), ("shift", scaling.shift))
    constants = (float32_constant(f"{name}.{what}", array, build) for what, array in both)
    return build.emit(Affine(), value, *constants, loc=loc, name=name)


def take_above(layer: Node, scaling: Scaling, build: Builder) -> Value:
    """The linear layer with the scaling of its inputs in weight and bias.

    A product of two matrices takes one factor.
    """
    if isinstance(layer.op, MatMul):
        op = replace(layer.op, factor=layer.op.factor * scaling.scale.item())
        return build.emit(op, *layer.inputs, loc=layer.loc, name=layer.output.name)
    scale, shift = scaling.full
    x, weight, bias = layer.inputs
    parameters = [rescaled(weight, scale, 0.0, build, layer.loc), bias]
    if shift.any():
        moved = (constant(weight, build, layer.loc) * shift).sum(axis=1)
        parameters[1] = rescaled(bias, np.ones(1), moved, build, layer.loc)
    return build.emit(layer.op, x, *parameters, loc=layer.loc, name=layer.output.name)


def scaled_elements(x: Value, number: tuple[float, float], node: Node, build: Builder) -> Value:
    """x * scale + shift as a function of each element."""
    op = Composite((Step(Operation.AFFINE, (0,), number),))
    return build.emit(op, x, loc=node.loc, name=node.output.name)


def _upwards(
    affine: Node, graph: Graph, producers: Mapping[Value, Node], readers: Mapping[Value, Node]
) -> Carried | None:
    scaling: Scaling | None = Scaling.of(affine, graph.constants)
    passed, value = dict[Value, Op](), affine.inputs[0]
    while scaling is not None and value in readers and (node := producers.get(value)) is not None:
        match node.op:
            case Contraction():
                takes = scaling.per_channel or _takes_bands(node, scaling, graph)
                return Carried(affine.output, passed, value, scaling) if takes else None
            case Normalize():
                return Carried(affine.output, passed, value, scaling)
            case Pointwise():
                takes = scaling.number is not None and bool(passed)
                return Carried(affine.output, passed, value, scaling) if takes else None
            case Affine():
                return Carried(affine.output, passed, value, scaling)
            case MatMul():
                takes = scaling.scale.size == 1 and 0 < scaling.scale.item() != 1
                return Carried(affine.output, passed, value, scaling) if takes else None
        raised = _raised(node, scaling)
        if raised is None:
            return None
        passed[value], scaling = raised
        value = node.inputs[0]
    return None


def _takes_bands(layer: Node, scaling: Scaling, graph: Graph) -> bool:
    """Whether a layer with constant parameters can scale bands of its output."""
    is_fixed = set(layer.inputs[1:]) <= graph.constants.keys()
    return is_fixed and bands_of(layer, scaling) is not None


def _raised(node: Node, scaling: Scaling) -> tuple[Op, Scaling] | None:
    """An op, and a scaling before it, that do the same as the node's op and the scaling after it.

    A factor that is not positive would exchange the greatest and the least element of a max pool.
    """
    x, number = node.inputs[0].type.shape if node.inputs else (), scaling.number
    match node.op:
        case Rearrangement() as op:
            moved = scaling.before(op, x)
            return None if moved is None else (op, moved)
        case Clamp() as clamp:
            bounds = scaling.clamped(clamp)
            return None if bounds is None else (bounds, scaling)
        case Mask() as op if not scaling.shift.any():
            return op, scaling
        case MaxPool2d() as op if number is not None and number[0] > 0:
            return op, Scaling.made(x, scaling.scale, scaling.shift)
        case AveragePool2d() as op if number is not None:
            shift = _shift_before(op, scaling.shift)
            return None if shift is None else (op, Scaling.made(x, scaling.scale, shift))
    return None


def _shift_before(pool: AveragePool2d, shift: Float64) -> Float64 | None:
    """The shift of every element that moves the pool's results by `shift`, if there is one.

    A sum over n elements grows by n times their shift. Padding stays zero.
    """
    if not shift.any():
        return shift
    if any(pool.padding) or len(set(pool.divisors)) > 1:
        return None
    size = prod(pool.kernel)
    return shift * next(iter(pool.divisors), size) / size


def _downwards(affine: Node, graph: Graph, readers: Mapping[Value, Node]) -> Carried | None:
    scaling, value = Scaling.of(affine, graph.constants), affine.output
    while (node := readers.get(value)) is not None:
        if isinstance(node.op, MatMul):
            number = scaling.number
            takes = number is not None and number[0] > 0 and number[1] == 0
            often = replace(scaling, scale=scaling.scale ** node.inputs.count(value))
            return Carried(affine.output, {}, node.output, often) if takes else None
        if node.inputs[0] is not value:
            return None
        match node.op:
            case Linear():
                is_sampled = bool(node.inputs[1].type.axes)
                if is_sampled and scaling.shift.any():  # the bias would share the weight's noise
                    return None
                return Carried(affine.output, {}, node.output, scaling)
            case Rearrangement() as op:
                scaling = scaling.after(op)
            case Mask() if not scaling.shift.any():
                pass
            case _:
                return None
        value = node.output
    return None


def _read_once(graph: Graph) -> dict[Value, Node]:
    """The one reader of each value that has one, and is no output."""
    consumers = graph.consumers().items()
    return {v: nodes[0] for v, nodes in consumers if len(nodes) == 1 and v not in graph.outputs}


def _apply(graph: Graph, found: list[Carried], take: Take) -> Graph:
    """Fold what was found. An Affine that leaves in this round takes no other one in it.

    One target takes one Affine in a round: a product of two matrices could be given two.
    """
    leaving = {c.affine for c in found}
    carried = list({c.target: c for c in found if c.target not in leaving}.values())
    dropped = {c.affine for c in carried}
    passed = {value: op for c in carried for value, op in c.passed.items()}
    taken = {c.target: c.scaling for c in carried}

    def rule(node: Node, build: Builder) -> Value | None:
        value = node.output
        if value in dropped:
            return node.inputs[0]
        if (scaling := taken.get(value)) is not None:
            return take(node, scaling, build)
        if (op := passed.get(value)) is not None:
            return build.emit(op, *node.inputs, loc=node.loc, name=value.name)
        return None

    return rewrite(graph, rule) if carried else graph
