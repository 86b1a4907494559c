"""Values that leave an INTEGER graph: the numbers of codes or accumulators."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qbnnc.ir.graph import Builder, Node, Value
from qbnnc.ir.ops import Dequantize, LookupReal, Pointwise, Reshape
from qbnnc.ir.types import Array
from qbnnc.passes.integer.constants import quant_of, real_table
from qbnnc.passes.ranges.quantisation_points import only_moves
from qbnnc.support.errors import Loc


@dataclass(frozen=True, slots=True, eq=False)
class Leaving:
    """The outputs of a SIMULATED graph, in the graph under construction.

    `codes` holds what stands for the values that have been lowered.
    """

    constants: Mapping[Value, Array]
    producers: Mapping[Value, Node]
    codes: Mapping[Value, Value]
    build: Builder

    def leave(self, output: Value) -> Value:
        """An output: the numbers of codes or accumulators, moved as the graph moves them."""
        if output in self.constants:
            return self.codes[output]
        moves, source = list[Node](), output
        node = self.producers.get(output)
        loc = Loc(output.name) if node is None else node.loc
        while node is not None and source not in self.codes and only_moves(node.op):
            moves.insert(0, node)
            source = node.inputs[0]
            node = self.producers.get(source)
        name = f"{output.name}.real"
        if node is not None and isinstance(node.op, Pointwise) and source not in self.codes:
            x = self.codes[node.inputs[0]]
            x = self.moved(x, moves, output.type.shape, f"{name}.codes", ".codes")
            entries = self.build.constant(f"{name}.table", real_table(quant_of(x), node.op.of))
            return self.build.emit(LookupReal(), x, entries, loc=loc, name=name)
        if all(isinstance(each.op, Reshape) for each in moves):
            shape = output.type.shape
            op = Dequantize(None if shape == source.type.shape else shape)
            return self.build.emit(op, self.codes[source], loc=loc, name=name)
        real = self.build.emit(Dequantize(), self.codes[source], loc=loc, name=name)
        return self.moved(real, moves, output.type.shape, name)

    def moved(
        self, x: Value, moves: list[Node], shape: tuple[int, ...], name: str, suffix: str = ""
    ) -> Value:
        """The elements of x as `moves` leave them; one reshape where nothing else moves them.

        Names of codes end in `suffix`: the value's own name is for its numbers.
        """
        if all(isinstance(each.op, Reshape) for each in moves):
            if x.type.shape == shape:
                return x
            return self.build.emit(Reshape(shape), x, loc=moves[-1].loc, name=name)
        for each in moves:
            of = f"{each.output.name}{suffix}"
            x = self.build.emit(each.op, x, loc=each.loc, name=of)
        return x
