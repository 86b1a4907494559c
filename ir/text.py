"""Graphs as text, for reading, for printing after a pass, and for golden files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING

from qbnnc.ir.ops.base import Op
from qbnnc.ir.types import QuantParams

if TYPE_CHECKING:
    from qbnnc.ir.graph import Graph, Node


_MOST_SHOWN, _FIRST_SHOWN = 16, 8  # of a long list, as the indices of a Gather


def graph_text(graph: Graph) -> str:
    """One line for the input, each constant and node, and the outputs.

    float graph(%input: f32[2]{row})
      %fc.weight = constant f32[3,2]
      ...
      %fc: f32[3]{row} = linear(%input, %fc.weight, %fc.bias)  # fc (net.py:7)
      return %fc
    """
    return "\n".join(_lines(graph)) + "\n"


def _lines(graph: Graph) -> Iterator[str]:
    yield f"{graph.stage.name.lower()} graph(%{graph.input.name}: {graph.input.type})"
    for value in graph.constants:
        yield f"  %{value.name} = constant {value.type}"
    for node in graph.nodes:
        yield f"  {node_text(node)}"
    yield f"  return {', '.join(f'%{value.name}' for value in graph.outputs)}"


def node_text(node: Node) -> str:
    """%name: type = op(%input, ...) field=value ...  # place in the user's model"""
    inputs = ", ".join(f"%{value.name}" for value in node.inputs)
    call = f"{node.op.name}({inputs}){attributes_text(node.op)}"
    return f"%{node.output.name}: {node.output.type} = {call}  # {node.loc}"


def attributes_text(op: Op) -> str:
    """The fields of an op that neither its type nor a default tells: " stride=(2, 2) p=0.1"."""
    assert is_dataclass(op)  # every op is; its base class cannot say so
    shown = (
        (f.name, getattr(op, f.name))
        for f in fields(op)
        if getattr(op, f.name) != f.default and not isinstance(getattr(op, f.name), QuantParams)
    )
    return "".join(f" {name}={_value(value)}" for name, value in shown)


def _value(value: object) -> str:
    match value:
        case float():
            return f"{value:.6g}"
        case tuple() if len(value) > _MOST_SHOWN:
            return f"[{', '.join(map(_value, value[:_FIRST_SHOWN]))}, ... {len(value)} in all]"
        case tuple():
            return f"[{', '.join(map(_value, value))}]"
    return str(value)
