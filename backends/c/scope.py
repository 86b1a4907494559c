"""The state that the rules of ops share: the place of each value, and its readers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

import numpy as np

from qbnnc.backends.c.arguments import argument_names
from qbnnc.backends.c.lanes import drawn_by_layers
from qbnnc.backends.c.parts import Part
from qbnnc.backends.c.program import Buffer, Phase, Program
from qbnnc.backends.c.values import CTYPES, Held, in_order, row_major, stored
from qbnnc.ir.graph import Graph, Node, Value
from qbnnc.ir.inputs import inputs_of
from qbnnc.ir.ops.base import codes_of
from qbnnc.ir.ops.choice import Choice
from qbnnc.ir.ops.dropout import Select
from qbnnc.ir.ops.integer import Conv2dInteger, LinearInteger
from qbnnc.ir.ops.part import Part as InputPart
from qbnnc.ir.ops.shape import Reshape
from qbnnc.ir.types import Array, Axis, DType


class Form(Enum):
    """The form of a layer behind dropout, which trades products for memory."""

    DIRECT = "direct"  # every sample from the start
    SUBTRACT = "subtract"  # the sums of all inputs, less the products of those that are dropped
    CACHED = "cached"  # the same, with each channel's part in a table


@dataclass(frozen=True, slots=True)
class Forms:
    """The form of each layer, by the name of its output; `default` of those that are not named."""

    default: Form = Form.SUBTRACT
    of: Mapping[str, Form] = field(default_factory=dict)

    def form(self, name: str) -> Form:
        return self.of.get(name, self.default)


@dataclass
class Scope:
    """One member's graph while it becomes steps.

    `done` are nodes that another one's step has computed, `written` the outputs with a place.
    """

    graph: Graph
    program: Program
    forms: Forms
    done: set[Node] = field(default_factory=set)
    written: set[int] = field(default_factory=set)
    masked: dict[str, int] = field(default_factory=dict)  # bytes of the table of a layer
    inputs: list[tuple[str, Held]] = field(default_factory=list)  # records that read the input
    _held: dict[Value, Held] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.readers = self.graph.consumers()
        self.producers = self.graph.producers()
        self.lanes, unneeded = drawn_by_layers(self.graph)
        self.done |= unneeded

    def phase(self, value: Value) -> Phase:
        """The phase that computes a value. Members of an ensemble compute all for each sample."""
        varies = self.program.members > 1 or Axis.SAMPLE in value.type.axes
        return Phase.SAMPLE if varies else Phase.ROW

    def held(self, value: Value) -> Held:
        """The place of a value that has been computed, or of a constant; ValueError for no value.

        A constant that is chosen stays where it is.
        """
        if value in self._held:
            return self._held[value]
        source, index = value, None
        if (node := self.producers.get(value)) is not None and isinstance(node.op, Choice):
            source, index = node.inputs
        array = self.graph.constants.get(source)
        if array is None or value.type.dtype not in CTYPES:
            raise ValueError(f"{value.type} of what is no constant, or as a weight")
        members = array[None] if index is None else array
        place = self.chosen(np.stack([*map(in_order, members)]), index, CTYPES[value.type.dtype])
        return self.hold(value, replace(place, strides=stored(value.type.shape)))

    def chosen(self, members: Array, index: Value | None, ctype: str) -> Held:
        """The place of the one of some constants [M, *shape] that an index chooses."""
        pointer = self.program.pointer(members, ctype)
        if index is None:
            return Held(pointer, (), ctype)
        self.program.parts.add(Part.CHOICE)
        number = self.held(index)
        text = f"QB_CHOSEN({pointer}, {members[0].size}, {number.text})"
        return Held(text, (), ctype, number.buffer)

    def hold(self, value: Value, held: Held) -> Held:
        self._held[value] = held
        return held

    def make(self, value: Value, strides: tuple[int, ...] | None = None) -> Held:
        """Make a buffer for a value."""
        ctype = CTYPES[value.type.dtype]
        buffer = Buffer(ctype, value.type.size)
        own = stored(value.type.shape) if strides is None else strides
        return self.hold(value, Held("{}", own, ctype, buffer))

    def make_real(self, value: Value) -> Held:
        """Make a place for numbers in PyTorch's order: the caller's array, if they leave alone."""
        number = self.leaves_at(value)
        if number is None:
            return self.make(value, row_major(value.type.shape))
        self.written.add(number)
        return self.hold(value, self.output(number))

    def leaves_at(self, value: Value) -> int | None:
        """The number of the output that a value is, if nothing else reads it."""
        if self.graph.outputs.count(value) != 1 or self.readers.get(value):
            return None
        if self.phase(value) is not Phase.SAMPLE or value.type.dtype is not DType.F32:
            return None
        return self.graph.outputs.index(value)

    def output(self, number: int) -> Held:
        """The caller's array for an output."""
        return Held(f"out{number}", row_major(self.graph.outputs[number].type.shape), "float")

    def input_pointer(self, value: Value) -> str:
        """The numbers of an input: the caller's array, or its place in a row that is kept."""
        while (node := self.producers.get(value)) is not None and isinstance(node.op, Reshape):
            value = node.inputs[0]
        if value is self.graph.input:
            return "x"
        if node is None or not isinstance(node.op, InputPart):
            raise ValueError("codes of what is no input")
        if self.program.members > 1:
            return f"x + {node.op.start}"
        entries = inputs_of(self.graph)
        place = [entry.start for entry in entries].index(node.op.start)
        return argument_names(entries)[place]

    def only_reader(self, value: Value) -> Node | None:
        """The node that reads a value if nothing else does."""
        readers = self.readers.get(value, [])
        return readers[0] if len(readers) == 1 and value not in self.graph.outputs else None

    def step(self, phase: Phase, function: str, *arguments: Held | Buffer | str | int) -> None:
        """Add a call. Buffers among the arguments become their addresses."""
        buffers, texts, local = list[Buffer](), list[str](), ""
        for argument in arguments:
            text = "{}" if isinstance(argument, Buffer) else str(argument)
            buffer = argument if isinstance(argument, Buffer) else None
            if isinstance(argument, Held):
                text, buffer, local = argument.text, argument.buffer, local + argument.local
            if buffer is not None:
                text = text.replace("{}", f"{{{len(buffers)}}}")
                buffers.append(buffer)
            texts.append(text)
        call = f"{function}({', '.join(texts)});"
        self.program.step(phase, f"{{{{ {local} {call} }}}}" if local else call, *buffers)

    def feeds_linear_layers(self, value: Value) -> bool:
        """Whether only linear layers with constant weights read a value: they take any order.

        One of several constants is as good as one.
        """
        readers = self.readers.get(value, [])
        return value not in self.graph.outputs and all(
            isinstance(r.op, LinearInteger) and self._is_constant(r.inputs[1]) for r in readers
        )

    def _is_constant(self, weight: Value) -> bool:
        node = self.producers.get(weight)
        return node is None or isinstance(node.op, Choice)

    def scratch(self, ctype: str, count: int) -> Buffer | str:
        """Make memory that one step needs; NULL if that is none."""
        return Buffer(ctype, count) if count else "NULL"

    def layers_mask(self, select: Node) -> Node | None:
        """The layer that subtracts what a dropout takes; None if the dropout is a step."""
        x, mask = select.inputs
        reader = self.only_reader(select.output)
        if reader is None or not isinstance(reader.op, Conv2dInteger | LinearInteger):
            return None
        if self.program.members > 1 or self.phase(x) is Phase.SAMPLE:
            return None  # there is nothing that is computed once
        if self.forms.form(reader.output.name) is Form.DIRECT:
            return None
        constant = all(value in self.graph.constants for value in reader.inputs[1:])
        if not constant or any(codes_of(reader.inputs[1].type).zero_point):
            return None
        if isinstance(reader.op, LinearInteger):
            return reader if mask.type.shape == x.type.shape else None
        channels = mask.type.shape == (x.type.shape[0], 1, 1) and reader.op.groups == 1
        return reader if channels else None

    def masked_input(self, layer: Node) -> Node | None:
        """The dropout whose zeros a layer subtracts."""
        select = self.producers.get(layer.inputs[0])
        if select is None or not isinstance(select.op, Select):
            return None
        return select if self.layers_mask(select) is layer else None
