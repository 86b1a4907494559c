"""An INTEGER graph as a list of instructions over buffers that have no address yet.

1. A convolution or linear layer whose accumulators have one reader takes it in: a Requantize
   with multipliers per channel, or a Dequantize that is one output. Otherwise the accumulators
   are a value like any other.
2. A Reshape is another name for a buffer where memory order is row-major order, else a copy.
3. Sampled weights are made in the layout that the layers read which they belong to.
4. A Dequantize writes to the float32 outputs, in the order that moves on the way out give them;
   float32 values live nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.graph import Graph, Node, Value
from qbnnc.ir.ops import Dequantize, LookupReal, Move, Reshape
from qbnnc.ir.types import CONSTANT, Array, Axis, DType
from qbnnc.runtime.families.moves.instructions import Load
from qbnnc.runtime.layout import ALIGNMENT, round_up
from qbnnc.runtime.packing import Constants, Layout
from qbnnc.runtime.program import Buffer, Instruction, Kind, Phase, phase_of
from qbnnc.support.errors import CompileError, Loc


@dataclass(frozen=True, slots=True)
class Step:
    """An instruction, and the node it comes from."""

    phase: Phase
    instruction: Instruction
    name: str
    loc: Loc


@dataclass(frozen=True, slots=True)
class Leaving:
    """An output: element i is element order[i] of a value, in row-major order; None: element i."""

    buffer: Buffer
    order: NDArray[np.int64] | None


class Lowering:
    """What lowering a graph collects: steps in the order of nodes, buffers and constants.

    `outputs` are the buffers of the graph's outputs, `packed` those of weights that are computed.
    """

    def __init__(
        self,
        graph: Graph,
        draws: int = 1,
        *,
        traced: bool = False,
        given: Mapping[Value, Buffer] | None = None,
        left: Collection[Value] = (),
        constants: Constants | None = None,
    ) -> None:
        """`draws`: how many samples a prediction has, as far as is known; it changes no result.

        `traced`: masks are values, not drawn where they are used. `given`: values that another
        program has made. `left`: values that another program reads. `constants`: those of several
        programs.
        """
        self.graph = graph
        self.constants = Constants() if constants is None else constants
        self._draws, self.traced, self._left = draws, traced, frozenset(left)
        self.steps: list[Step] = []
        self.buffers: dict[Value, Buffer] = dict(given or {})
        self._given = frozenset(self.buffers.values())
        self.packed: dict[tuple[Value, Layout], Buffer] = {}
        entry = graph.input
        self.input = Buffer(entry.name, entry.type.size, entry.type.axes, Kind.INPUT)
        self._producers, self._consumers = graph.producers(), graph.consumers()
        self._taken_in = set[Node]()
        self._leaving = [self._way_out(value) for value in graph.outputs]
        self._roots = frozenset(root for root, _ in self._leaving)
        self._left_by_graph = frozenset(graph.outputs)
        self.outputs = self._output_buffers()

    @property
    def partial(self) -> bool:
        """Whether other programs make the outputs of what this one leaves."""
        return bool(self._left)

    def given(self, buffer: Buffer) -> bool:
        """Whether another program has made it."""
        return buffer in self._given

    def root(self, value: Value) -> Value:
        """What `value` is once reshapes are taken off."""
        node = self._producers.get(value)
        while node is not None and isinstance(node.op, Reshape):
            value = node.inputs[0]
            node = self._producers.get(value)
        return value

    def _way_out(self, value: Value) -> tuple[Value, NDArray[np.int64] | None]:
        """What `value` is once reshapes and moves are taken off, and the order they give it."""
        order, node = None, self._producers.get(value)
        while node is not None and isinstance(node.op, Reshape | Move):
            if isinstance(node.op, Move):
                if node.output.type.dtype is not DType.F32:
                    break
                source = node.op.source_of(node.inputs[0].type.shape).reshape(-1)
                order = source if order is None else np.where(order < 0, -1, source[order])
            value = node.inputs[0]
            node = self._producers.get(value)
        return value, order

    def moves_out(self, node: Node) -> bool:
        """Whether a move of float32 numbers is part of what writes an output."""
        root, order = self._way_out(node.output)
        made = self._producers.get(root)
        writes = made is not None and isinstance(made.op, Dequantize | LookupReal)
        return writes and (order is None or bool((order >= 0).all()))

    def _output_buffers(self) -> list[Buffer]:
        buffers, position = list[Buffer](), 0
        for value in self.graph.outputs:
            size = value.type.size
            buffers.append(Buffer(value.name, size, value.type.axes, Kind.OUT, position))
            position += size
        return buffers

    def copied(self) -> dict[int, Array | None]:
        """The outputs that are the input (None) or a constant: no program makes them."""
        return {
            i: self.graph.constants.get(root)
            for i, (root, _) in enumerate(self._leaving)
            if root is self.graph.input or root in self.graph.constants
        }

    def outputs_of(self, value: Value) -> list[Leaving]:
        """The outputs that are `value`, perhaps moved."""
        leaving = zip(self.outputs, self._leaving, strict=True)
        return [Leaving(buffer, order) for buffer, (root, order) in leaving if root is value]

    def emit(self, node: Node, instruction: Instruction) -> None:
        """Add an instruction; it runs as often as its output varies."""
        phase = phase_of(instruction.output.axes)
        self.steps.append(Step(phase, instruction, node.output.name, node.loc))

    def copies(self, node: Node) -> int:
        """Of a node's value in a prediction for one row."""
        return self._draws if Axis.SAMPLE in node.output.type.axes else 1

    def made(self, value: Value, more: int = 0) -> Buffer:
        """The buffer of `value`, which this makes, writing up to `more` bytes beyond its end."""
        self.buffers[value] = self.room(value, more)
        return self.buffers[value]

    def room(self, value: Value, more: int = 0) -> Buffer:
        """A new buffer as large as `value`, and `more` bytes."""
        stride = round_up(max(1, value.type.nbytes + more), ALIGNMENT)
        return Buffer(value.name, stride, value.type.axes)

    def scratch(self, node: Node, count: int) -> Buffer:
        """Room for one instruction."""
        return Buffer(f"{node.output.name} scratch", count, CONSTANT, Kind.SCRATCH)

    def constant(self, node: Node, index: int, what: str) -> Array:
        """The array of an input that must be constant."""
        array = self.graph.constants.get(node.inputs[index])
        if array is None:
            raise CompileError(f"{node.op.name}: the runtime takes a constant {what}", node.loc)
        return array

    def constant_buffer(self, name: str, array: Array) -> Buffer:
        """A constant that takes the place of a computed operand."""
        return Buffer(name, 0, CONSTANT, Kind.CONSTANT, self.constants.add(array))

    def producer(self, value: Value) -> Node | None:
        return self._producers.get(value)

    def readers(self, value: Value) -> list[Node]:
        return self._consumers.get(value, [])

    def only_reader(self, value: Value) -> Node | None:
        """As Graph.only_reader, without looking at all nodes; None if another program reads it."""
        readers, others = self._consumers.get(value, []), self._left
        alone = len(readers) == 1 and value not in self._left_by_graph and value not in others
        return readers[0] if alone else None

    def is_output(self, value: Value) -> bool:
        """Whether an output is `value`, perhaps moved."""
        return value in self._roots

    def take_in(self, node: Node) -> None:
        """`node` is part of the instruction of its input."""
        self._taken_in.add(node)

    def taken_in(self, node: Node) -> bool:
        return node in self._taken_in

    def buffer(self, node: Node, index: int) -> Buffer:
        """Where an input is; a constant becomes a value."""
        value = node.inputs[index]
        if value not in self.buffers:
            array = self.constant(node, index, "or computed input")
            flat = np.moveaxis(array, 0, -1) if array.ndim == 3 else array
            offset = self.constants.add(flat)
            load = Load(output=self.made(value), constant=offset, size=array.nbytes)
            self.emit(node, load)
        return self.buffers[value]

    def codes(self, node: Node, index: int) -> Buffer:
        """Where an input is that must be u8 codes."""
        type_ = node.inputs[index].type
        if type_.dtype is not DType.U8:
            raise CompileError(f"{node.op.name}: the runtime takes u8 codes, not {type_}", node.loc)
        return self.buffer(node, index)


Lower: TypeAlias = Callable[[Lowering, Node, Any], None]  # emits the instructions of a node's op
