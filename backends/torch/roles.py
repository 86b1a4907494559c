"""The role of each FakeQuantize of a SIMULATED graph, found from its neighbours (Figures 1-3)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from qbnnc.ir.graph import Graph, Node, Value
from qbnnc.ir.ops import (
    Choice,
    Clamp,
    Concat,
    Contraction,
    Embedding,
    FakeQuantize,
    Mask,
    Noise,
    Normal,
    Normalize,
    SampledWeight,
    SumOfProducts,
)
from qbnnc.ir.ops.sum_of_products import is_state_quant
from qbnnc.support.errors import CompileError


@dataclass(frozen=True, slots=True)
class Observed:
    """A value with a range of its own; values that a concatenation joins share the `group`'s.

    `place` counts the values of a group. A value that is one of several constants has the range of
    all of them, the `members`.
    """

    group: Value
    place: int = 0
    members: Value | None = None


@dataclass(frozen=True, slots=True)
class SameGrid:
    """A value rounded again, to the grid `of` another: a clamp's input, a concatenation's first."""

    of: Value


@dataclass(frozen=True, slots=True)
class Stretched:
    """A masked value times 1/(1-p), on a power-of-two grid that covers `of`'s range."""

    of: Value
    factor: float


@dataclass(frozen=True, slots=True)
class Weight:
    """A layer's weight; `x` is the layer's input, `bias` its bias."""

    x: Value
    bias: Value


@dataclass(frozen=True, slots=True)
class Bias:
    """A layer's bias, on the grid of its accumulators."""

    x: Value
    weight: Value


@dataclass(frozen=True, slots=True)
class Moment:
    """mu (`index` 0) or sigma (1) of a sampled weight."""

    mu: Value
    sigma: Value
    index: int


@dataclass(frozen=True, slots=True)
class NoiseGrid:
    """The grid of eps, which never changes."""


@dataclass(frozen=True, slots=True)
class Fixed:
    """A value whose calibrated grid stays: one made of noise alone, or a carried state.

    The distribution of noise never changes, and a state has 16 bits for twice its range.
    """


Role: TypeAlias = Observed | SameGrid | Stretched | Weight | Bias | Moment | NoiseGrid | Fixed


def roles_of(graph: Graph) -> dict[Node, Role]:
    """The role of every FakeQuantize; CompileError where there is none that we know."""
    return _Roles(graph).found


def parameters_of(graph: Graph) -> Iterator[Value]:
    """The constants that fine-tuning changes: weights and biases, or what these are made of.

    These are their mu and sigma, the members of a choice, and what a mask drops elements of. The
    tables of embeddings are trained too. Weights and biases of norms stay float32 numbers.
    """
    producers = graph.producers()
    for node in graph.nodes:
        if isinstance(node.op, FakeQuantize):
            value = _before_draws(node.inputs[0], producers)
            if value in graph.constants:
                yield value
        elif isinstance(node.op, Embedding):
            yield node.inputs[1]
        elif isinstance(node.op, Normalize):
            yield from node.inputs[1:]


def _before_draws(value: Value, producers: Mapping[Value, Node]) -> Value:
    """The values that a mask drops elements of, or that a choice takes one of."""
    while (node := producers.get(value)) is not None and isinstance(node.op, Mask | Choice):
        value = node.inputs[0]
    return value


def _of_noise_alone(graph: Graph) -> set[Value]:
    """The values that nothing but noise and constants decides."""
    found = set[Value]()
    for node in graph.nodes:
        computed = [value for value in node.inputs if value not in graph.constants]
        if isinstance(node.op, Noise) or (computed and found.issuperset(computed)):
            found.add(node.output)
    return found


def source_of(value: Value, producers: Mapping[Value, Node]) -> Node | None:
    """The FakeQuantize whose grid a value lies on, through ops that keep codes."""
    node = producers.get(value)
    if node is None or isinstance(node.op, FakeQuantize):
        return node
    keeps_grid = node.op.keeps_codes and node.op.grid_factor == 1.0
    return source_of(node.inputs[0], producers) if keeps_grid else None


class _Roles:
    def __init__(self, graph: Graph) -> None:
        self.graph, self.producers = graph, graph.producers()
        self.readers = graph.consumers()
        self.found: dict[Node, Role] = {}
        for node in graph.nodes:
            if isinstance(node.op, FakeQuantize):
                self.found[node] = self.role(node)
        self.join()

    def role(self, node: Node) -> Role:
        readers = self.readers.get(node.output, [])
        for reader in readers:
            match reader:
                case Node(op=SampledWeight(), inputs=(mu, sigma, *_)) if node.output in (mu, sigma):
                    return Moment(self.source(mu), self.source(sigma), int(node.output is sigma))
                case Node(op=Contraction(), inputs=(x, weight, bias)):
                    if node.output is weight:
                        return Weight(x, self.source(bias))
                    if node.output is bias:
                        return Bias(x, weight)
        producer = self.producers.get(node.inputs[0])
        if producer is not None and isinstance(producer.op, Normal):
            return NoiseGrid()
        if producer is not None and isinstance(producer.op, SumOfProducts):
            return Fixed()
        on_grid = node.inputs[0].type.quant is not None or self.clamped_again(producer)
        if on_grid:
            return self.again(node, producer, readers)
        if producer is not None and isinstance(producer.op, Choice):
            return Observed(node.output, members=producer.inputs[0])
        return Observed(node.output)

    @staticmethod
    def clamped_again(producer: Node | None) -> bool:
        """Whether this is a clamp of a value on a grid; a clamp's type forgets the grid.

        The view of a carried state is on a grid of its own.
        """
        if producer is None or not isinstance(producer.op, Clamp):
            return False
        quant = producer.inputs[0].type.quant
        return quant is not None and not is_state_quant(quant)

    def again(self, node: Node, producer: Node | None, readers: list[Node]) -> Role:
        """The grid of a value that was on one already."""
        for reader in readers:
            if isinstance(reader.op, Concat) and reader.inputs[0] is not node.output:
                return SameGrid(reader.inputs[0])
        match producer:
            case Node(op=Clamp(), inputs=(x, *_)):
                return SameGrid(x)
            case Node(op=Mask(scale=scale), inputs=(x, *_)):
                return Stretched(x, scale)
        raise CompileError("is quantised twice for no reason we know", node.loc)

    def source(self, value: Value) -> Value:
        """The constant, or sampled weight, before a FakeQuantize."""
        node = self.producers.get(value)
        return node.inputs[0] if node is not None and isinstance(node.op, FakeQuantize) else value

    def join(self) -> None:
        """Give concatenated values that lie on one grid one group: that of the first."""
        for node in self.graph.nodes:
            if isinstance(node.op, Concat):
                sources = [source_of(value, self.producers) for value in node.inputs]
                self.unite([s for s in sources if s is not None])
        places: Counter[Value] = Counter()
        for node, role in self.found.items():
            if isinstance(role, Observed):
                self.found[node] = replace(role, place=places[role.group])
                places[role.group] += 1
        alone = _of_noise_alone(self.graph)
        for node, role in self.found.items():
            if isinstance(role, Observed) and places[role.group] == 1 and node.output in alone:
                self.found[node] = Fixed()

    def unite(self, sources: list[Node]) -> None:
        groups = [r.group for s in sources if isinstance(r := self.found[s], Observed)]
        for node, role in self.found.items():
            if isinstance(role, Observed) and role.group in groups:
                self.found[node] = replace(role, group=groups[0])
