"""The conversion of a program: each node in order, with the tracked values of its arguments."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from math import prod
from operator import itemgetter
from typing import cast

import torch
from torch import Tensor, fx
from torch.export import ExportedProgram
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode

from qbnnc.frontend.convert import unsupported_ops
from qbnnc.frontend.convert.call import Call
from qbnnc.frontend.convert.context import Context
from qbnnc.frontend.convert.draw_sources import Converted
from qbnnc.frontend.convert.ids import vocabulary_of
from qbnnc.frontend.convert.member_axes import member_axes, members_first
from qbnnc.frontend.convert.op_rules import result_of
from qbnnc.frontend.convert.parts_of_row import (
    check_all_read,
    part_of_row,
    parts_of_row,
    row_name,
)
from qbnnc.frontend.convert.tracked import (
    Activation,
    Chosen,
    Constant,
    Noise,
    Tracked,
)
from qbnnc.frontend.program.constant_outputs import Constants
from qbnnc.frontend.program.locations import location, plain_name
from qbnnc.frontend.program.nodes import (
    batch_of,
    check_finite,
    is_read,
    live,
    stored_tensors,
    the_inputs,
)
from qbnnc.frontend.program.predictions import Prediction, returned
from qbnnc.frontend.program.random_ops import op_name
from qbnnc.ir.graph import Graph, Value
from qbnnc.ir.ops import Clamp
from qbnnc.ir.types import PER_ROW, DType, TensorType
from qbnnc.support.errors import CompileError, Loc
from qbnnc.support.several_inputs import Entries

_READING = frozenset({"_local_scalar_dense", "item"})


def convert(
    program: ExportedProgram,
    tensors: Mapping[str, Tensor] | None = None,
    inputs: Entries = (),
) -> Graph:
    """The FLOAT graph of a functional program; see convert_with_draws."""
    return convert_with_draws(program, tensors, inputs).graph


def convert_with_draws(
    program: ExportedProgram,
    tensors: Mapping[str, Tensor] | None = None,
    inputs: Entries = (),
    member_axis: int | None = None,
) -> Converted:
    """The FLOAT graph of a functional program (see trace.export.functionalise), and its draws.

    `tensors` take the place of the program's own, by their names in the user's model. `inputs` are
    several inputs that stand one after another in the rows that the program takes. `member_axis` is
    the axis of outputs that holds members; outputs [E, B, ...] have it in front.
    CompileError names the module, the op, and what to do instead.
    """
    source, *more = the_inputs(program)
    outputs = returned(program).predictions
    nodes = live(program, (output.node for output in outputs if not output.constant))
    stored = stored_tensors(program, tensors or {})
    vocabulary = vocabulary_of(nodes, source, *more)
    context = Context(nodes, batch_of(source), result_of, vocabulary)
    conversion = _Conversion(context, stored, nodes)
    conversion.start([source, *more], inputs)
    for node in nodes:
        conversion.visit(node)
    converted = conversion.graph(outputs, Constants(program, stored), member_axis)
    check_all_read(converted.graph, inputs)
    return converted


def _shape_of(source: fx.Node) -> tuple[int, ...]:
    """The shape of a row of an input; CompileError if it may have several."""
    extents = source.meta["val"].shape[1:]
    if not all(isinstance(extent, int) for extent in extents):
        raise CompileError(
            f"takes any {list(extents)} of features",
            source.name,
            remedy="export it for one shape of a row, with no axis but the batch dynamic",
        )
    return tuple(map(int, extents))


class _Conversion:
    """Visits the nodes in order, and remembers the tracked value of each."""

    def __init__(
        self, context: Context, stored: Mapping[str, tuple[str, Tensor]], nodes: Iterable[fx.Node]
    ) -> None:
        self._context = context
        self._stored = stored
        self._needed = frozenset(nodes)
        self._known: dict[fx.Node, object] = {}

    def start(self, sources: Sequence[fx.Node], inputs: Entries) -> None:
        """Begin with the input: one tensor, or the row of several `inputs`."""
        shapes = [_shape_of(source) for source in sources]
        shape = shapes[0] if len(shapes) == 1 else (sum(map(prod, shapes)),)
        name = row_name(inputs) if inputs else sources[0].name
        build = self._context.build
        row = build.input(name, TensorType(DType.F32, shape, PER_ROW))
        if len(sources) == 1:
            self._known[sources[0]] = Activation(row)
            self._known |= parts_of_row(sources[0], inputs, build)
            return
        for source, entry in zip(sources, inputs, strict=True):
            self._known[source] = Activation(part_of_row(entry, build))

    def graph(
        self, outputs: Sequence[Prediction], constants: Constants, member_axis: int | None
    ) -> Converted:
        computed = [None if each.constant else self._output(each.node) for each in outputs]
        members = member_axes(computed, member_axis)
        values: list[Value | None] = []
        for number, output in enumerate(computed):
            axis = None if members is None else members.axes[number]
            if output is None:
                values.append(None)
            elif axis is None:
                values.append(self._context.value(output[1], output[0]))
            else:
                values.append(members_first(*output, axis))
        first, alike = next(
            (value, members is not None and members.axes[number] is not None)
            for number, value in enumerate(values)
            if value is not None
        )
        shape = first.type.shape[alike:]
        whole = tuple(
            self._constant(output, constants, shape) if value is None else value
            for output, value in zip(outputs, values, strict=True)
        )
        return replace(self._context.graph(whole), members=members)

    def _output(self, node: fx.Node) -> tuple[Call, Tracked]:
        return Call(node, {}, self._context), cast(Tracked, self._known[node])

    def _constant(self, output: Prediction, constants: Constants, shape: tuple[int, ...]) -> Value:
        """A constant output; a clamp at 0 marks one that no parameters make negative."""
        row, name = constants.row(output, shape), constants.name(output)
        check_finite(name, row)
        value = self._context.constant(name, row)
        if not constants.never_negative(output):
            return value
        return self._context.build.emit(
            Clamp(0.0, None), value, loc=Loc(name), name=f"{name}.value"
        )

    def visit(self, node: fx.Node) -> None:
        """Convert one node; CompileError also if torch would need a tensor's values."""
        try:
            self._visit(node)
        except GuardOnDataDependentSymNode as error:
            raise CompileError(
                f"{plain_name(node)}: depends on the value of a tensor that tracing does not know",
                location(node),
                remedy="use a Python number that __init__ sets, or a mask that multiplies",
            ) from error

    def _visit(self, node: fx.Node) -> None:
        if node in self._known:
            return
        if node.op == "placeholder":
            self._known[node] = self._weight(node)
        elif isinstance(node.meta.get("val"), int | float | torch.SymInt | torch.SymFloat):
            self._known[node] = self._number(node)
        elif node.op == "get_attr":
            self._known[node] = None  # a branch or a body, for the control flow that follows
        elif isinstance(node.target, torch._ops.HigherOrderOperator):
            message, remedy = unsupported_ops.control_flow(node.target.name())
            raise CompileError(message, location(node), remedy)
        elif op_name(node):
            call = Call(node, self._arguments(node), self._context)
            self._known[node] = result_of(call)
        else:
            self._known[node] = self._item(node)

    def _number(self, node: fx.Node) -> object:
        """A size, the number in a buffer, or a number computed from known numbers."""
        arguments = [self._resolved(argument) for argument in node.args]
        if op_name(node) in _READING and isinstance(read := arguments[0], Constant):
            return read.tensor.item()
        if op_name(node) in _READING and isinstance(arguments[0], Chosen):
            return arguments[0]
        plain = arguments and all(type(argument) in (int, float) for argument in arguments)
        if plain and getattr(node.target, "__module__", "") == "_operator" and not node.kwargs:
            return cast("Callable[..., object]", node.target)(*arguments)
        return node.meta["val"]

    def _weight(self, node: fx.Node) -> Constant:
        if node.name not in self._stored:
            raise CompileError(
                "is not a tensor", node.name, remedy="only tensors may enter the network"
            )
        name, tensor = self._stored[node.name]
        if is_read(node, self._needed):
            check_finite(name, tensor)
        return Constant(tensor)

    def _item(self, node: fx.Node) -> object:
        """results[i]; only tuples and noise are known to have several results."""
        source, index = cast(fx.Node, node.args[0]), node.args[1]
        several = self._known.get(source)
        if isinstance(several, Noise):
            return Noise(several.source, itemgetter(index), {"several": several})
        if isinstance(several, tuple) and isinstance(index, int) and index < len(several):
            return several[index]
        remedy = "use the first"
        raise CompileError(
            f"{plain_name(source)}: result {index} is not supported", location(source), remedy
        )

    def _arguments(self, node: fx.Node) -> dict[str, object]:
        target = cast(torch._ops.OpOverload, node.target)
        schema = target._schema.arguments
        given = dict(zip((a.name for a in schema), node.args, strict=False)) | dict(node.kwargs)
        bound = {a.name: given.get(a.name, a.default_value) for a in schema}
        return {name: self._resolved(value) for name, value in bound.items()}

    def _resolved(self, argument: object) -> object:
        if isinstance(argument, fx.Node):
            return self._known[argument]
        if isinstance(argument, list | tuple):
            return [self._resolved(item) for item in argument]
        return argument
