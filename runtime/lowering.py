"""Lowering: from an INTEGER graph to instructions over buffers that have no address yet.

1. A convolution or linear layer absorbs the one reader of its accumulators, if that is a
   Requantize with multipliers per channel, or a Dequantize that is one output. Otherwise the
   accumulators are a value like any other.
2. A Reshape is another name for a buffer where memory order is row-major order, else a copy.
3. Weights that are not constant are made in the layout that their layers read.
4. A Dequantize writes to the float32 outputs. If the graph then moves the numbers, it writes them
   in their final order. Float32 values exist nowhere else.

`families.lowering` says which function lowers each op.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.graph import Graph, Node, Value
from qbnnc.ir.ids import id_values
from qbnnc.ir.ops import Dequantize, LookupReal, Move, Part, Rearrangement, Reshape
from qbnnc.ir.types import CONSTANT, Array, Axis, DType
from qbnnc.runtime.families.masked_layers.forms import MaskedForm
from qbnnc.runtime.families.moves.instructions import Load
from qbnnc.runtime.layout import ALIGNMENT, round_up
from qbnnc.runtime.packing import Constants, Layout
from qbnnc.runtime.program import Buffer, Instruction, Kind, Phase, phase_of
from qbnnc.support.errors import CompileError, Loc


@dataclass(frozen=True, slots=True)
class Step:
    """An instruction with its phase, and the node that it comes from."""

    phase: Phase
    instruction: Instruction
    name: str
    loc: Loc


@dataclass(frozen=True, slots=True)
class Leaving:
    """An output whose element i is element order[i] of a value, in row-major order.

    An order of None keeps all elements in place.
    """

    buffer: Buffer
    order: NDArray[np.int64] | None


class Lowering:
    """The state of lowering a graph: steps in the order of nodes, buffers and constants.

    `outputs` are the buffers of the graph's outputs. `packed` are the buffers of weights
    and biases that are made in the layout of a layer.
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
        masked: MaskedForm | None = None,
    ) -> None:
        """Begin with no steps.

        Args:
            graph: the graph, or the graph of which other programs compute a part.
            draws: the samples of a member in most predictions; no result depends on it.
            traced: dropout masks are values of their own, for `trace`.
            given: values that another program has made.
            left: values that another program reads.
            constants: the constants of several programs; None makes new ones.
            masked: the form of layers under a dropout mask where it exists; None chooses it.
        """
        self.graph = graph
        self.constants = Constants() if constants is None else constants
        self._draws, self.traced, self._left = draws, traced, frozenset(left)
        self.masked_form = masked
        self.steps: list[Step] = []
        self.buffers: dict[Value, Buffer] = dict(given or {})
        self._given = frozenset(self.buffers.values())
        self.packed: dict[tuple[Value, Layout], Buffer] = {}
        entry = graph.input
        self.input = Buffer(entry.name, entry.type.size, entry.type.axes, Kind.INPUT)
        self._producers, self._consumers = graph.producers(), graph.consumers()
        self._ids = id_values(graph)
        self._taken_in = set[Node]()
        self._leaves_whole = dict[Value, bool]()  # of each value that `moves_out` has looked at
        self._leaving = [self._way_out(value) for value in graph.outputs]
        self._roots = frozenset(root for root, _ in self._leaving)
        self._left_by_graph = frozenset(graph.outputs)
        self.outputs = self._output_buffers()

    def input_at(self, value: Value) -> Buffer | None:
        """Return an input's numbers in the row of all inputs; None if `value` is no input."""
        if value is self.graph.input:
            return self.input
        node = self._producers.get(value)
        if node is None or not isinstance(node.op, Part):
            return None
        return replace(self.input, name=value.name, position=node.op.start)

    @property
    def partial(self) -> bool:
        """Whether other programs go on with the values of this one and make the outputs."""
        return bool(self._left)

    def given(self, buffer: Buffer) -> bool:
        """Tell whether another program has made a buffer's value."""
        return buffer in self._given

    def root(self, value: Value) -> Value:
        """Return the value that `value` reshapes, or itself."""
        node = self._producers.get(value)
        while node is not None and isinstance(node.op, Reshape):
            value = node.inputs[0]
            node = self._producers.get(value)
        return value

    def _way_out(self, value: Value) -> tuple[Value, NDArray[np.int64] | None]:
        """Return the value that `value` reshapes and moves, and the order that this gives it."""
        order, node = None, self._producers.get(value)
        while node is not None and isinstance(node.op, Rearrangement):
            if isinstance(node.op, Move):
                if node.output.type.dtype is not DType.F32:
                    break
                source = node.op.source_of(node.inputs[0].type.shape).reshape(-1)
                order = source if order is None else np.where(order < 0, -1, source[order])
            value = node.inputs[0]
            node = self._producers.get(value)
        return value, order

    def moves_out(self, node: Node) -> bool:
        """Tell whether the instruction that writes an output does a move of float32 numbers too."""
        moves, value = list[Node](), node.output
        while value not in self._leaves_whole:
            made = self._producers.get(value)
            if made is None or not isinstance(made.op, Rearrangement):
                writes = made is not None and isinstance(made.op, Dequantize | LookupReal)
                self._leaves_whole[value] = writes
            else:
                moves.append(made)
                value = made.inputs[0]
        for made in reversed(moves):
            whole = self._leaves_whole[made.inputs[0]] and _adds_nothing(made)
            self._leaves_whole[made.output] = whole
        return self._leaves_whole[node.output]

    def moves_ids(self, node: Node) -> bool:
        """Tell whether the instruction that reads ids moves these numbers of the input itself."""
        return node.output in self._ids

    def _output_buffers(self) -> list[Buffer]:
        buffers, position = list[Buffer](), 0
        for value in self.graph.outputs:
            size = value.type.size
            buffers.append(Buffer(value.name, size, value.type.axes, Kind.OUT, position))
            position += size
        return buffers

    def copied(self) -> dict[int, Array | None]:
        """Return the outputs that no program makes: they are the input (None) or a constant."""
        return {
            i: self.graph.constants.get(root)
            for i, (root, _) in enumerate(self._leaving)
            if root is self.graph.input or root in self.graph.constants
        }

    def outputs_of(self, value: Value) -> list[Leaving]:
        """Return the outputs that are `value`, perhaps moved."""
        leaving = zip(self.outputs, self._leaving, strict=True)
        return [Leaving(buffer, order) for buffer, (root, order) in leaving if root is value]

    def emit(self, node: Node, instruction: Instruction) -> None:
        """Add an instruction, in the phase in which its output varies."""
        phase = phase_of(instruction.output.axes)
        self.steps.append(Step(phase, instruction, node.output.name, node.loc))

    def copies(self, node: Node) -> int:
        """Count the copies of a node's value in a prediction for one row."""
        return self._draws if Axis.SAMPLE in node.output.type.axes else 1

    def made(self, value: Value, more: int = 0) -> Buffer:
        """Make the buffer of `value`; its writer may store up to `more` bytes beyond the end."""
        self.buffers[value] = self.new_buffer(value, more)
        return self.buffers[value]

    def new_buffer(self, value: Value, more: int = 0) -> Buffer:
        """Make a buffer as large as `value` and `more` bytes."""
        stride = round_up(max(1, value.type.nbytes + more), ALIGNMENT)
        return Buffer(value.name, stride, value.type.axes)

    def scratch(self, node: Node, count: int) -> Buffer:
        """Make a scratch buffer of `count` bytes for one instruction."""
        return Buffer(f"{node.output.name} scratch", count, CONSTANT, Kind.SCRATCH)

    def constant(self, node: Node, index: int, what: str) -> Array:
        """Return the array of an input; raise CompileError if it is not constant."""
        array = self.graph.constants.get(node.inputs[index])
        if array is None:
            raise CompileError(f"{node.op.name}: the runtime takes a constant {what}", node.loc)
        return array

    def constant_buffer(self, name: str, array: Array) -> Buffer:
        """Make a constant that serves as an operand which may also be computed."""
        return Buffer(name, 0, CONSTANT, Kind.CONSTANT, self.constants.add(array))

    def producer(self, value: Value) -> Node | None:
        """Return the node that makes `value`; None for the input and constants."""
        return self._producers.get(value)

    def readers(self, value: Value) -> list[Node]:
        """Return the nodes that read `value`."""
        return self._consumers.get(value, [])

    def only_reader(self, value: Value) -> Node | None:
        """Return the node that alone reads `value`; None if an output or another program does."""
        readers, others = self._consumers.get(value, []), self._left
        alone = len(readers) == 1 and value not in self._left_by_graph and value not in others
        return readers[0] if alone else None

    def leaves(self, value: Value) -> bool:
        """Tell whether `value` is an output, or another program reads it."""
        return value in self._left_by_graph or value in self._left or value in self._roots

    def is_output(self, value: Value) -> bool:
        """Tell whether an output is `value`, perhaps moved."""
        return value in self._roots

    def take_in(self, node: Node) -> None:
        """Note that the instruction of its input does the work of `node` too."""
        self._taken_in.add(node)

    def taken_in(self, node: Node) -> bool:
        """Tell whether the instruction of its input does the work of `node`."""
        return node in self._taken_in

    def buffer(self, node: Node, index: int) -> Buffer:
        """Return the buffer of an input; a constant is loaded into one."""
        value = node.inputs[index]
        if value not in self.buffers:
            array = self.constant(node, index, "or computed input")
            flat = np.moveaxis(array, 0, -1) if array.ndim == 3 else array
            offset = self.constants.add(flat)
            load = Load(output=self.made(value), constant=offset, size=array.nbytes)
            self.emit(node, load)
        return self.buffers[value]

    def codes(self, node: Node, index: int) -> Buffer:
        """Return the buffer of an input; raise CompileError if it holds no u8 codes."""
        type_ = node.inputs[index].type
        if type_.dtype is not DType.U8:
            raise CompileError(f"{node.op.name}: the runtime takes u8 codes, not {type_}", node.loc)
        return self.buffer(node, index)


Lower: TypeAlias = Callable[[Lowering, Node, Any], None]  # emits the instructions of a node's op


def _adds_nothing(node: Node) -> bool:
    """Tell whether every element of a node's output is one of its input."""
    if not isinstance(node.op, Move):
        return True
    return bool((node.op.source_of(node.inputs[0].type.shape) >= 0).all())
