"""What holds of every graph, before and after every pass."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import numpy as np

from qbnnc.ir.errors import CompileError, Loc
from qbnnc.ir.graph import Graph, Node, Value
from qbnnc.ir.ops.base import RandomOp
from qbnnc.ir.ops.dropout import KeepMask
from qbnnc.ir.ops.quantize import QuantizeInput
from qbnnc.ir.types import CONSTANT, PER_ROW, DType, QuantParams, Stage

_SMALLEST = float(np.finfo(np.float32).smallest_normal)
_LARGEST = float(np.finfo(np.float32).max)


def check(graph: Graph) -> None:
    """CompileError, at the node, unless the graph is well formed.

    1. Every value is defined once, before it is read, under a name of its own.
    2. Every op belongs to the graph's stage, and gives the type its output says.
    3. Constants have the dtype and shape of their types, and are finite.
    4. Every scale is a normal, finite, positive float32; zero points and codes are in range.
    5. A random stream is drawn by one op, or by masks that all take the same lanes: their number
       and whether rows share them agree, their shapes, probabilities and `inverted` may differ.
    """
    known = {graph.input, *graph.constants}
    names = [value.name for value in known]
    if graph.input.type.axes != PER_ROW:
        raise CompileError(f"the input is {graph.input.type}, which is no batch", "the graph")
    for value in graph.constants:
        _check_constant(graph, value)
    for node in graph.nodes:
        _check_node(graph.stage, node, known)
        known.add(node.output)
        names.append(node.output.name)
    if repeated := sorted({n for n in names if names.count(n) > 1} if _repeats(names) else ()):
        raise CompileError(f"several values are called {repeated[0]}", "the graph")
    if codes := [v.name for v in graph.outputs if v.type.dtype is not DType.F32]:
        raise CompileError("an output holds codes, not numbers", codes[0])
    if missing := [v.name for v in graph.outputs if v not in known]:
        raise CompileError(f"the output {missing[0]} is never computed", "the graph")
    _check_streams(graph)


def _repeats(names: list[str]) -> bool:
    return len(names) != len(set(names))


def _check_node(stage: Stage, node: Node, known: set[Value]) -> None:
    name = node.op.name
    if stage not in node.op.stages:
        raise CompileError(f"{name} may not appear in a graph of stage {stage.name}", node.loc)
    if missing := [v.name for v in node.inputs if v not in known]:
        raise CompileError(f"{name} reads {missing[0]} before it is computed", node.loc)
    if node.output in known:
        raise CompileError(f"{node.output.name} is computed twice", node.loc)
    try:
        type_ = node.op.infer(*(v.type for v in node.inputs))
    except (ValueError, IndexError) as error:
        raise CompileError(f"{name}: {error}", node.loc) from error
    if node.output.type != type_:
        raise CompileError(f"{name} gives {type_}, not {node.output.type}", node.loc)
    if (quant := type_.quant) is not None:
        _check_quant(quant, node.loc)
        _check_codes(node.output.type.dtype, quant, node.loc)
    if isinstance(node.op, QuantizeInput):
        _check_entry(node.op, node.loc)


def _check_codes(dtype: DType, quant: QuantParams, loc: Loc) -> None:
    if dtype is DType.F32:
        return
    limits = np.iinfo(dtype.numpy)
    if not limits.min <= quant.low <= quant.high <= limits.max:
        raise CompileError(f"{dtype.value} does not hold codes {quant.low}..{quant.high}", loc)


def _check_entry(op: QuantizeInput, loc: Loc) -> None:
    _check_scales(op.scale, loc)
    if not np.isfinite(op.offset).all():
        raise CompileError("the offset of the input is not finite", loc)
    if not op.quant.low <= op.low <= op.high <= op.quant.high:
        raise CompileError(f"{op.low}..{op.high} is outside {op.quant}", loc)


def _check_constant(graph: Graph, value: Value) -> None:
    array, type_, loc = graph.constants[value], value.type, Loc(value.name)
    if array.dtype != type_.dtype.numpy or array.shape != type_.shape or type_.axes != CONSTANT:
        raise CompileError(f"the constant is {array.dtype}{list(array.shape)}, not {type_}", loc)
    if array.dtype == np.float32 and not np.isfinite(array).all():
        raise CompileError("the weight holds NaN or infinity; train or load it again", loc)
    if (quant := type_.quant) is None:
        return
    _check_quant(quant, loc)
    if array.size and not quant.low <= int(array.min()) <= int(array.max()) <= quant.high:
        raise CompileError(f"codes outside {quant.low}..{quant.high}", loc)


def _check_quant(quant: QuantParams, loc: Loc) -> None:
    _check_scales(quant.scale, loc)
    if not all(quant.low <= zero <= quant.high for zero in quant.zero_point):
        raise CompileError(f"a zero point is outside {quant.low}..{quant.high}", loc)


def _check_scales(scales: tuple[float, ...], loc: Loc) -> None:
    for scale in scales:
        if not _SMALLEST <= scale <= _LARGEST or float(np.float32(scale)) != scale:
            raise CompileError(
                f"the scale {scale:g} is not a normal float32: the values here are too small or "
                "too large to quantise; rescale the layer",
                loc,
            )


def _check_streams(graph: Graph) -> None:
    lanes: dict[int, tuple[int, bool] | None] = {}
    for node, op in random_nodes(graph):
        if not 0 <= op.stream < 2**32:
            raise CompileError(f"{op.stream} is no number of a random stream", node.loc)
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
