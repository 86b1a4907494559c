"""The parts that can have bits of their own: layers, by the names users know, and the input."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from qbnnc.ir.graph import Graph, Node, Value
from qbnnc.ir.ops import Choice, Contraction, Mask, SampledWeight
from qbnnc.passes.options import Bits, Quantisation
from qbnnc.passes.ranges.quantisation_points import quantisation_points

INPUT: Final = "(input)"  # no module's path has brackets


class Kind(Enum):
    """One of a layer's two widths."""

    WEIGHTS = "w"
    ACTIVATIONS = "a"

    def of(self, bits: Bits) -> int:
        """This width of some bits."""
        return bits.weights if self is Kind.WEIGHTS else bits.activations

    def changed(self, bits: Bits, width: int) -> Bits:
        """The same bits, but with this width changed."""
        if self is Kind.WEIGHTS:
            return replace(bits, weights=width)
        return replace(bits, activations=width)


@dataclass(frozen=True, slots=True)
class Layer:
    """A module, and how many numbers its bits decide; `nodes` are other names for it.

    `weights` counts the numbers stored. A sampled weight has a mean and a standard deviation, and
    an ensemble stores the numbers of every member. `activations` counts the quantised values that
    the layer gives for one row and sample. A layer whose output leaves the network as a number has
    none. Biases have widths of their own and do not count. `residual` values have other bits by
    default: they are residual sums, or what these add.
    """

    name: str
    weights: int
    activations: int
    nodes: tuple[str, ...] = ()
    residual: bool = False

    def numbers(self, kind: Kind) -> int:
        """The count of numbers that have this width."""
        return self.weights if kind is Kind.WEIGHTS else self.activations

    def bits(self, quantisation: Quantisation) -> Bits:
        """The layer's bits under these choices."""
        base = quantisation.bits
        if self.name == INPUT:
            return replace(base, activations=quantisation.input_width)
        if self.residual:
            base = replace(base, activations=quantisation.residual_width)
        own = (quantisation.layers[n] for n in self._names if n in quantisation.layers)
        return next(own, base)

    def changed(self, quantisation: Quantisation, bits: Bits) -> Quantisation:
        """Return the same choices with these bits for this layer."""
        if self.name == INPUT:
            return replace(quantisation, input_bits=bits.activations)
        return replace(quantisation, layers={**quantisation.layers, self.name: bits})

    def is_set(self, quantisation: Quantisation) -> bool:
        """Whether these choices give the layer bits of its own."""
        if self.name == INPUT:
            return quantisation.input_bits is not None
        return any(name in quantisation.layers for name in self._names)

    @property
    def _names(self) -> tuple[str, ...]:
        return (self.name, *self.nodes)


def layers_of(graph: Graph, *, members: int = 1, outputs: bool = False) -> tuple[Layer, ...]:
    """The layers of a FLOAT graph that is ready to be quantised, in order; codes of an input first.

    With `outputs`, what leaves the graph is quantised too. Values that a concatenation joins share
    their scale; all of them belong to the layer that gives the first.
    """
    points = quantisation_points(graph, outputs=outputs)
    owners = {point.group: name_of(point.node) for point in points if point.value is point.group}
    given: Counter[str] = Counter()
    for point in points:
        given[owners[point.group]] += point.value.type.size
    residual = {name_of(point.node) for point in points if point.residual}
    first = [INPUT] if any(point.node is None for point in points) else []  # ids have no codes
    parameters: dict[str, dict[Value, int]] = {name: {} for name in first}
    nodes: dict[str, list[str]] = {name: [] for name in first}
    producers, computing = graph.producers(), {point.node for point in points}
    for node in graph.nodes:
        stored, name = dict(_parameters(node, producers)), name_of(node)
        if stored or (node in computing and given[name]):
            parameters.setdefault(name, {}).update(stored)
            nodes.setdefault(name, []).append(node.output.name)
    return tuple(
        Layer(
            name,
            members * sum(parameters[name].values()),
            given[name],
            tuple(node for node in others if node != name),
            name in residual,
        )
        for name, others in nodes.items()
    )


def name_of(node: Node | None) -> str:
    """The name of the layer that a node belongs to; that of the input for None."""
    return INPUT if node is None else node.loc.module or node.output.name


def _parameters(node: Node, producers: Mapping[Value, Node]) -> Iterator[tuple[Value, int]]:
    """The constants that hold a layer's weight, and their sizes."""
    if isinstance(node.op, Contraction):
        for value in _stored(node.inputs[1], producers):
            yield value, value.type.size


def _stored(weight: Value, producers: Mapping[Value, Node]) -> tuple[Value, ...]:
    """The constants that a weight is made of."""
    made = producers.get(weight)
    match None if made is None else made.op:
        case SampledWeight() if made is not None:
            return made.inputs[:2]
        case Choice() if made is not None:
            return made.inputs[:1]
        case Mask() if made is not None:
            return _stored(made.inputs[0], producers)
    return (weight,)
