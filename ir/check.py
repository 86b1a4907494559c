"""Rules that hold of every graph, before and after every pass."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from math import isfinite, prod

from qbnnc.ir.graph import Graph, Node, Value
from qbnnc.ir.ids import check_readers
from qbnnc.ir.inputs import check_parts
from qbnnc.ir.operands import check_operands, check_real
from qbnnc.ir.ops.base import RandomOp
from qbnnc.ir.ops.dropout import KeepMask
from qbnnc.ir.ops.shape import Reshape
from qbnnc.ir.types import PER_ROW, Array, DType, Stage
from qbnnc.ir.validity import check_constant_type, check_type, codes
from qbnnc.support import limits
from qbnnc.support.errors import CompileError, Loc

_THE_GRAPH = "the graph"
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


Ends = dict[int, tuple[float, float]]  # least and greatest element of an array, by its id


def check(graph: Graph, ends: Ends | None = None, *, complete: bool = True) -> None:
    """Raise CompileError, at the node, unless the graph is well formed.

    1. Every value is defined once, before it is read, under a printable name of its own.
    2. Every op belongs to the graph's stage, and gives the type its output says.
    3. Constants have the dtype and shape of their types, and are finite. They hold codes of their
       types, and whatever the ops that read them take (`qbnnc.ir.operands`).
    4. Types are valid (`qbnnc.ir.validity`), and all is within the limits (`qbnnc.support.limits`).
    5. A random stream is drawn by one op, or by masks that all take the same lanes. Their number of
       lanes and whether rows share them agree; shapes, probabilities and `inverted` may differ.
    6. Embeddings read numbers of the input, moved or not, and a constant table (`qbnnc.ir.ids`).
    7. Several inputs cut the row without gap or overlap (`qbnnc.ir.inputs`).

    `ends` holds the least and greatest element of arrays that have been looked at, for graphs that
    share constants. Unless the graph is `complete`, some constants are zeros still to be filled in.
    """
    _check_counts(graph)
    _check_input(graph)
    known = {graph.input, *graph.constants}
    names = Counter(value.name for value in known)
    ends = {} if ends is None else ends
    for value, array in graph.constants.items():
        _check_constant(value, array, ends)
    for node in graph.nodes:
        _check_node(graph, node, known, complete=complete)
        known.add(node.output)
        names[node.output.name] += 1
    if repeated := sorted(name for name, count in names.items() if count > 1):
        raise CompileError(f"several values are called {repeated[0]}", _THE_GRAPH)
    if reals := [v.name for v in graph.outputs if v.type.dtype is not DType.F32]:
        raise CompileError("an output holds codes, not numbers", reals[0])
    if missing := [v.name for v in graph.outputs if v not in known]:
        raise CompileError(f"the output {missing[0]} is never computed", _THE_GRAPH)
    _check_parts(graph)
    _check_streams(graph)
    check_readers(graph)


def check_text(text: str, limit: limits.Limit) -> None:
    """ValueError unless a text is of a length within the limit, and printable."""
    limit.check(len(text))
    if (found := _UNPRINTABLE.search(text)) is not None:
        raise ValueError(f"the character {found[0]!a} in {text[:40]!a} cannot be printed")


def _check_counts(graph: Graph) -> None:
    try:
        limits.NODES.check(len(graph.nodes))
        limits.CONSTANTS.check(len(graph.constants))
        limits.OUTPUTS.check(len(graph.outputs))
    except ValueError as error:
        raise CompileError(str(error), _THE_GRAPH) from error


def _check_input(graph: Graph) -> None:
    type_ = graph.input.type
    if type_.axes != PER_ROW or type_.dtype is not DType.F32 or type_.quant is not None:
        raise CompileError(f"the input is {type_}, which is no batch", _THE_GRAPH)
    try:
        check_text(graph.input.name, limits.NAME)
        check_type(type_)
    except ValueError as error:
        raise CompileError(f"the input: {error}", _THE_GRAPH) from error


def _check_parts(graph: Graph) -> None:
    try:
        check_parts(graph)
    except ValueError as error:
        raise CompileError(str(error), _THE_GRAPH) from error


def _check_node(graph: Graph, node: Node, known: set[Value], *, complete: bool) -> None:
    name = node.op.name
    if graph.stage not in node.op.stages:
        raise CompileError(
            f"{name} may not appear in a graph of stage {graph.stage.name}", node.loc
        )
    if missing := [v.name for v in node.inputs if v not in known]:
        raise CompileError(f"{name} reads {missing[0]} before it is computed", node.loc)
    if node.output in known:
        raise CompileError(f"{node.output.name} is computed twice", node.loc)
    try:
        check_text(node.output.name, limits.NAME)
        check_text(node.loc.module, limits.NAME)
        check_text(node.loc.source, limits.NAME)
        type_ = node.op.result(*(v.type for v in node.inputs))
        if complete:
            check_operands(node, graph.constants)
        if graph.stage is Stage.INTEGER and not isinstance(node.op, Reshape):
            check_real(node)
    except ValueError as error:
        raise CompileError(f"{name}: {error}", node.loc) from error
    if node.output.type != type_:
        raise CompileError(f"{name} gives {type_}, not {node.output.type}", node.loc)


def _check_constant(value: Value, array: Array, ends: Ends) -> None:
    type_, loc = value.type, Loc(value.name)
    if array.dtype != type_.dtype.numpy or array.shape != type_.shape:
        raise CompileError(f"the constant is {array.dtype}{list(array.shape)}, not {type_}", loc)
    try:
        check_text(value.name, limits.NAME)
        check_constant_type(type_)
    except ValueError as error:
        raise CompileError(f"the constant: {error}", loc) from error
    if id(array) not in ends:
        ends[id(array)] = array.min(), array.max()
    least, greatest = ends[id(array)]
    if not (isfinite(least) and isfinite(greatest)):  # NaN is the minimum where there is one
        raise CompileError("the weight holds NaN or infinity", loc, remedy="train or load it again")
    if (quant := type_.quant) is not None and not (
        quant.low <= int(least) <= int(greatest) <= quant.high
    ):
        raise CompileError(f"codes outside {codes(quant)}", loc)


def _check_streams(graph: Graph) -> None:
    lanes: dict[int, tuple[int, bool] | None] = {}
    for node, op in random_nodes(graph):
        taken = (prod(op.shape), op.shared) if isinstance(op, KeepMask) else None
        if op.stream in lanes and (taken is None or lanes[op.stream] != taken):
            raise CompileError(
                f"the random stream {op.stream} is used twice, and not by masks of the same lanes",
                node.loc,
            )
        lanes[op.stream] = taken


def random_nodes(graph: Graph) -> Iterator[tuple[Node, RandomOp]]:
    """The nodes that draw random numbers, in order, with their ops."""
    return ((node, node.op) for node in graph.nodes if isinstance(node.op, RandomOp))
