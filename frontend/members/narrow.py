"""The graph of one member: every value is narrowed to the part that the member needs.

A rule for each op says which parts of its inputs make a part of its output. Where there is none,
the whole value is computed, and the part is taken from it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from qbnnc.frontend.members.blocks import Block, places_of
from qbnnc.ir.graph import Builder, Graph, Node, Value
from qbnnc.ir.ops import KeepMask, Op, Reshape, Slice, Transpose
from qbnnc.ir.types import Array, Stage
from qbnnc.support.errors import Loc

PART = ".member"  # ends the name of a part that is taken from a whole value


@dataclass(frozen=True, slots=True)
class Need:
    """A value that a part is made of: the whole of it (None), or a block."""

    value: Value
    block: Block | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """How a part is made: of the parts `needs`, by `emit`."""

    needs: tuple[Need, ...]
    emit: Callable[[Emitter, tuple[Value, ...]], Value]


@dataclass(frozen=True, slots=True, eq=False)
class Emitter:
    """The graph under construction, at the place of one value of the old graph."""

    build: Builder
    name: str
    loc: Loc

    def emit(self, op: Op, *inputs: Value, suffix: str = "") -> Value:
        return self.build.emit(op, *inputs, loc=self.loc, name=self.name + suffix)

    def constant(self, suffix: str, array: Array) -> Value:
        return self.build.constant(self.name + suffix, array)

    def reshaped(self, x: Value, shape: tuple[int, ...]) -> Value:
        """x under another shape; reshapes in a row become one, or none."""
        made = self.build.producer(x)
        while made is not None and isinstance(made.op, Reshape):
            x = made.inputs[0]
            made = self.build.producer(x)
        return x if x.type.shape == shape else self.emit(Reshape(shape), x, suffix=".shape")

    def transposed(self, x: Value, order: tuple[int, ...]) -> Value:
        """x with its axes in another order; a reshape if only axes of 1 move."""
        long = [axis for axis in order if x.type.shape[axis] > 1]
        if long == sorted(long):
            return self.reshaped(x, tuple(x.type.shape[axis] for axis in order))
        return self.emit(Transpose(order), x)


Rule: TypeAlias = Callable[[Node, Block], "Plan | None"]
_Plans: TypeAlias = dict[Value, "dict[Block | None, Plan]"]


@dataclass(frozen=True, slots=True, eq=False)
class Narrowed:
    """A member's graph, and the lanes that it takes of each stream; None is all of them."""

    graph: Graph
    lanes: Mapping[int, tuple[int, ...] | None]

    @property
    def mixed(self) -> bool:
        """Whether a part is taken from a value that is computed for all members."""
        return any(node.output.name.endswith(PART) for node in self.graph.nodes)


def narrowed(graph: Graph, outputs: Sequence[Block | None], rule: Rule) -> Narrowed:
    """The graph that gives these blocks of the outputs; None is the whole output."""
    producers = graph.producers()
    plans = _plans(graph, producers, outputs, rule)
    if (lanes := _lanes(producers, plans)) is None:  # one mask has two meanings: leave masks whole
        plans = _plans(
            graph, producers, outputs, lambda node, block: _unless_mask(rule, node, block)
        )
        lanes = {}
    build, made = Builder(), dict[Need, Value]()
    made[Need(graph.input)] = build.input(graph.input.name, graph.input.type)
    for value, array in graph.constants.items():
        made[Need(value)] = build.keep_constant(value, array)
        for block in plans.get(value, {}):
            if block is not None:
                made[Need(value, block)] = build.constant(value.name, block.of(array))
    for value in (graph.input, *producers):
        node = producers.get(value)
        loc = Loc(value.name) if node is None else node.loc
        for block, plan in sorted(
            plans.get(value, {}).items(), key=lambda item: item[0] is not None
        ):
            if Need(value, block) not in made:
                parts = tuple(made[need] for need in plan.needs)
                made[Need(value, block)] = plan.emit(Emitter(build, value.name, loc), parts)
    values = tuple(made[Need(*pair)] for pair in zip(graph.outputs, outputs, strict=True))
    return Narrowed(build.graph(values, Stage.FLOAT), lanes)


def _plans(
    graph: Graph, producers: Mapping[Value, Node], outputs: Sequence[Block | None], rule: Rule
) -> _Plans:
    """How each part of each value is made that a part of an output needs."""
    plans: _Plans = {}
    readers = dict[Value, list[Value]]()  # of the whole of a value
    own = next((block for block in outputs if block is not None), None)

    def need(value: Value, block: Block | None) -> None:
        plans.setdefault(value, {}).setdefault(block, Plan((), _nothing))

    for value, block in zip(graph.outputs, outputs, strict=True):
        need(value, block)
    for value in (*reversed(list(producers)), graph.input):
        node, wanted = producers.get(value), plans.get(value, {})
        slices = [producers[reader] for reader in readers.get(value, ())]
        alone = None in wanted and value not in graph.outputs
        alone = alone and all({*plans[node.output]} == {None} for node in slices)
        if alone and (part := _own_part(slices, own, value)) is not None:
            del wanted[None]
            need(value, part)
            for sliced in slices:
                plans[sliced.output][None] = _line(Need(value, part), sliced.output)
        for block in [each for each in wanted if each is not None]:
            plan = None if node is None else rule(node, block)
            wanted[block] = _taken(value, block) if plan is None else plan
            if plan is None:
                wanted.setdefault(None, Plan((), _nothing))
        if None in wanted and node is not None:
            wanted[None] = _whole(node)
        for plan in wanted.values():
            for each in plan.needs:
                if each.value is not value:
                    need(each.value, each.block)
                if each.block is None:
                    readers.setdefault(each.value, []).append(value)
    return plans


def _own_part(slices: Sequence[Node], own: Block | None, value: Value) -> Block | None:
    """The member's own part of a value, if only that is read, as a slice each time.

    Convolutions of all members in one batch read their images so.
    """
    extent = value.type.shape[0] if value.type.shape else 0
    if own is None or not slices or own.count < 2 or extent % own.count:
        return None
    size = extent // own.count
    part = Slice(0, own.index * size, (own.index + 1) * size)
    alike = all(node.op == part for node in slices)
    return Block(0, 1, own.count, size, own.index) if alike else None


def _line(need: Need, output: Value) -> Plan:
    """A slice of a value, as the part of a member."""
    return Plan((need,), lambda emitter, parts: emitter.reshaped(parts[0], output.type.shape))


def _nothing(emitter: Emitter, parts: tuple[Value, ...]) -> Value:
    raise AssertionError("a part without a plan")


def _whole(node: Node) -> Plan:
    needs = tuple(Need(value) for value in node.inputs)
    return Plan(needs, lambda emitter, parts: emitter.emit(node.op, *parts))


def _taken(value: Value, block: Block) -> Plan:
    """A part of a value that is computed for all members."""

    def emit(emitter: Emitter, parts: tuple[Value, ...]) -> Value:
        shape = value.type.shape
        lead, rest = shape[: block.axis], shape[block.axis + 1 :]
        split = emitter.reshaped(parts[0], (*lead, block.before, block.count, block.after, *rest))
        cut = Slice(block.axis + 1, block.index, block.index + 1)
        return emitter.reshaped(emitter.emit(cut, split, suffix=PART), block.shape(shape))

    return Plan((Need(value),), emit)


def _unless_mask(rule: Rule, node: Node, block: Block) -> Plan | None:
    return None if isinstance(node.op, KeepMask) else rule(node, block)


def _lanes(
    producers: Mapping[Value, Node], plans: _Plans
) -> dict[int, tuple[int, ...] | None] | None:
    """The lanes of each stream that are drawn; None if two masks take different ones."""
    found: dict[int, tuple[int, ...] | None] = {}
    for value, wanted in plans.items():
        node = producers.get(value)
        if node is None or not isinstance(node.op, KeepMask):
            continue
        for block in wanted:
            lanes = None if block is None else tuple(places_of(block, node.op.shape))
            if found.setdefault(node.op.stream, lanes) != lanes:
                return None
    return found
