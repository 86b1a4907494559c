"""The walk over a program: each op's arguments, what is known of them, and its rule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod
from typing import cast

import torch
from torch import Tensor, fx
from torch.export import ExportedProgram

from qbnnc.frontend.convert import (
    activations,
    arithmetic,
    creation,
    layers,
    masks,
    noise,
    pooling,
    shapes,
)
from qbnnc.frontend.convert.call import Call
from qbnnc.frontend.convert.naming import location, plain_name
from qbnnc.frontend.convert.program import (
    batch_of,
    check_finite,
    live,
    predictions,
    stored_tensors,
    the_input,
)
from qbnnc.frontend.convert.rule import Rules
from qbnnc.frontend.convert.scope import Scope
from qbnnc.frontend.convert.values import (
    Fixed,
    Masked,
    Noise,
    Padded,
    Product,
    Result,
    Row,
    Tracked,
)
from qbnnc.frontend.randomness import is_seeded, op_name
from qbnnc.ir.errors import CompileError
from qbnnc.ir.graph import Graph
from qbnnc.ir.types import PER_ROW, DType, Stage, TensorType

# Rules for ops whose result is not fixed even where all their arguments are.
_MAKING: Rules = {**creation.RULES, **noise.DRAWING_RULES}
_RULES: Rules = {
    **_MAKING,
    **activations.RULES,
    **arithmetic.RULES,
    **layers.RULES,
    **noise.DROPOUT_RULES,
    **masks.RULES,
    **pooling.RULES,
    **shapes.RULES,
}
_UNFOLDED = frozenset({*noise.DROPOUT_RULES, "expand", "expand_as"})
_MAX_FOLDED = 1 << 28  # elements: a hostile program could ask for any number


def convert(program: ExportedProgram) -> Graph:
    """The FLOAT graph of a functional program (see tracing.functionalise).

    CompileError names the module, the op, and what to do instead.
    """
    source = the_input(program)
    outputs = predictions(program, source)
    nodes = live(program, outputs)
    conversion = _Conversion(Scope(nodes, batch_of(source)), stored_tensors(program))
    conversion.start(source)
    for node in nodes:
        conversion.visit(node)
    return conversion.graph(outputs)


class _Conversion:
    """The walk: each node's arguments, what is known of them, and the rule that takes it."""

    def __init__(self, scope: Scope, stored: Mapping[str, tuple[str, Tensor]]) -> None:
        self._scope = scope
        self._stored = stored
        self._known: dict[fx.Node, object] = {}

    def start(self, source: fx.Node) -> None:
        extents = source.meta["val"].shape[1:]
        if not all(isinstance(extent, int) for extent in extents):
            raise CompileError(
                f"takes any {list(extents)} of features; export it for one shape of a row, with no "
                "axis but the batch dynamic",
                source.name,
            )
        shape = tuple(map(int, extents))
        type_ = TensorType(DType.F32, shape, PER_ROW)
        self._known[source] = Row(self._scope.build.input(source.name, type_))

    def graph(self, outputs: list[fx.Node]) -> Graph:
        values = tuple(
            self._scope.value(cast(Tracked, self._known[node]), Call(node, {}, self._scope))
            for node in outputs
        )
        return self._scope.build.graph(values, Stage.FLOAT)

    def visit(self, node: fx.Node) -> None:
        if node in self._known:
            return
        if node.op == "placeholder":
            self._known[node] = self._weight(node)
        elif isinstance(node.meta.get("val"), int | torch.SymInt):
            self._known[node] = node.meta["val"]
        elif op_name(node):
            call = Call(node, self._arguments(node), self._scope)
            self._known[node] = _checked(call, self._result(call))
        else:
            self._known[node] = self._item(node)

    def _weight(self, node: fx.Node) -> Fixed:
        if node.name not in self._stored:
            raise CompileError("is not a tensor; only tensors may enter the network", node.name)
        name, tensor = self._stored[node.name]
        check_finite(name, tensor)
        return Fixed(tensor)

    def _item(self, node: fx.Node) -> object:
        """results[i]: of what has several results only tuples and noise are known."""
        several, index = self._known.get(cast(fx.Node, node.args[0])), node.args[1]
        if isinstance(several, Noise):
            return several
        if isinstance(several, tuple) and isinstance(index, int) and index < len(several):
            return several[index]
        raise CompileError(f"result {index} is not supported; use the first", location(node))

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

    def _result(self, call: Call) -> Result:
        name, inputs = op_name(call.node), list(_tracked(call.arguments))
        if name in _MAKING:
            return _MAKING[name](call)
        if _is_noise(call.node, inputs):
            return Noise(call.node)
        if name not in _UNFOLDED and all(isinstance(each, Fixed) for each in inputs):
            return _folded(call)
        if name in _RULES:
            return _RULES[name](call)
        raise CompileError(
            f"the op {plain_name(call.node)!r} is not supported; replace it by one that is: "
            "linear and convolution layers, batch norm, pooling, clamps, dropout, sums, reshapes",
            location(call.node),
        )


def _checked(call: Call, result: Result) -> Result:
    """torch's own shape of a result and ours must agree, the batch being the first axis."""
    match result:
        case Row(value) if value.type.shape != call.row_shape():
            call.fail(
                f"gives rows of shape {list(call.row_shape())}, and only {list(value.type.shape)} "
                "is supported for these inputs"
            )
    return result


def _tracked(arguments: Mapping[str, object]) -> Iterator[Tracked]:
    for value in arguments.values():
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, Tracked):
                yield item


def _is_noise(node: fx.Node, inputs: list[Tracked]) -> bool:
    """Drawn, or computed from noise, without the input having a part in it."""
    drawn = is_seeded(node) and op_name(node) not in _RULES
    noisy = drawn or any(isinstance(each, Noise) for each in inputs)
    return noisy and not any(isinstance(each, Row | Masked | Product | Padded) for each in inputs)


def _folded(call: Call) -> Result:
    """An op on weights alone, computed now."""
    shape = call.shape() if isinstance(call.node.meta["val"], Tensor) else ()
    if not all(isinstance(extent, int) for extent in shape):
        call.fail("makes a tensor of the batch's size from weights; let it broadcast instead")
    if prod(map(int, shape)) > _MAX_FOLDED:
        call.fail(f"makes a constant of shape {list(shape)}; that is more than a model may hold")
    target = cast(torch._ops.OpOverload, call.node.target)
    with torch.no_grad():
        result = target(**{name: _plain(value) for name, value in call.arguments.items()})
    if isinstance(result, bool | int | float):
        return Fixed(torch.tensor(result))
    return Fixed(result) if isinstance(result, Tensor) else tuple(map(Fixed, result))


def _plain(value: object) -> object:
    match value:
        case Fixed(tensor):
            return tensor
        case list():
            return [_plain(item) for item in value]
        case _:
            return value
