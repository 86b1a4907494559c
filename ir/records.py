"""A graph as typed JSON records; the constants' arrays travel beside them, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qbnnc.ir.codec import DecodeError, Json, decode, decode_op, encode, encode_op
from qbnnc.ir.errors import Loc
from qbnnc.ir.graph import Builder, Graph, Value
from qbnnc.ir.types import PER_ROW, Array, DType, QuantParams, Stage, TensorType


@dataclass(frozen=True, slots=True)
class _Input:
    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Constant:
    name: str
    quant: QuantParams | None


@dataclass(frozen=True, slots=True)
class _Node:
    """`inputs` are numbers of values: the input is 0, then the constants, then the nodes."""

    name: str
    inputs: tuple[int, ...]
    loc: Loc


def graph_record(graph: Graph) -> Json:
    """{"input", "constants", "nodes", "outputs"}; types are inferred again when it is read."""
    values = [graph.input, *graph.constants, *(n.output for n in graph.nodes)]
    number = {value: i for i, value in enumerate(values)}
    nodes: list[Json] = []
    for node in graph.nodes:
        inputs = tuple(number[v] for v in node.inputs)
        record = encode(_Node(node.output.name, inputs, node.loc))
        nodes.append({"node": record, "op": encode_op(node.op)})
    return {
        "input": encode(_Input(graph.input.name, graph.input.type.shape)),
        "constants": [encode(_Constant(v.name, v.type.quant)) for v in graph.constants],
        "nodes": nodes,
        "outputs": [number[v] for v in graph.outputs],
    }


def read_graph(record: Json, stage: Stage, prefix: str, tensors: Mapping[str, Array]) -> Graph:
    """The graph of a record; DecodeError if it is none, CompileError if its types do not fit."""
    if not isinstance(record, dict):
        raise DecodeError("a graph is an object")
    build, values = Builder(), list[Value]()
    entry = decode(_Input, record.get("input"))
    values.append(build.input(entry.name, TensorType(DType.F32, entry.shape, PER_ROW)))
    for item in _list(record.get("constants")):
        constant = decode(_Constant, item)
        if (array := tensors.get(prefix + constant.name)) is None:
            raise DecodeError(f"the tensor {constant.name!r} is missing")
        values.append(build.constant(constant.name, array, constant.quant))
    for item in _list(record.get("nodes")):
        if not isinstance(item, dict):
            raise DecodeError("a node is an object")
        node, op = decode(_Node, item.get("node")), decode_op(item.get("op"))
        inputs = (_at(values, i) for i in node.inputs)
        values.append(build.emit(op, *inputs, loc=node.loc, name=node.name))
    outputs = tuple(_at(values, i) for i in _list(record.get("outputs")))
    return build.graph(outputs, stage)


def _list(value: Json) -> list[Json]:
    if not isinstance(value, list):
        raise DecodeError(f"{value!r} is no list")
    return value


def _at(values: list[Value], index: Json) -> Value:
    if not isinstance(index, int) or not 0 <= index < len(values):
        raise DecodeError(f"there is no value {index!r} yet")
    return values[index]
