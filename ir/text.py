"""Graphs as text: a short form for people, and a whole form that is read back.

docs/reference/ir.md describes both.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np

from qbnnc.ir.ops.base import Op
from qbnnc.ir.ops.composite import Step
from qbnnc.ir.types import Array, QuantParams
from qbnnc.support.errors import Loc

if TYPE_CHECKING:
    from qbnnc.ir.graph import Graph, Node, Value


_MOST_SHOWN, _FIRST_SHOWN = 16, 8  # of a long list in the short form, as the indices of a Gather
_MOST_INLINE = 64  # elements of a constant that are written one by one
_BARE_NAME = re.compile(r"[\w.$@/-]+")


def graph_text(graph: Graph, *, whole: bool = False) -> str:
    """One line for the input, each constant and node, and the outputs.

    The short form leaves out the elements of constants and rounds numbers. The `whole` form says
    everything, so that `qbnnc.ir.text_parser` reads the same graph back.

    float graph(%input: f32[2]{row})
      %fc.weight = constant f32[3,2]
      ...
      %fc: f32[3]{row} = linear(%input, %fc.weight, %fc.bias)  # fc (net.py:7)
      return %fc
    """
    return "\n".join(_lines(graph, whole)) + "\n"


def _lines(graph: Graph, whole: bool) -> Iterator[str]:
    yield f"{graph.stage.name.lower()} graph({_name(graph.input)}: {graph.input.type})"
    for value, array in graph.constants.items():
        said = _constant(value, array) if whole else str(value.type)
        yield f"  {_name(value)} = constant {said}"
    for node in graph.nodes:
        yield f"  {node_text(node, whole=whole)}"
    yield f"  return {', '.join(map(_name, graph.outputs))}"


def node_text(node: Node, *, whole: bool = False) -> str:
    """%name: type = op(%input, ...) field=value ...  # place in the user's model"""
    type_ = _plain_type(node.output) if whole else str(node.output.type)
    call = f"{node.op.name}({', '.join(map(_name, node.inputs))}){_fields(node.op, whole)}"
    place = f"  # {_place(node.loc)}" if not whole or node.loc != Loc(node.output.name) else ""
    return f"{_name(node.output)}: {type_} = {call}{place}"


def _name(value: Value) -> str:
    """A value's name, in quotes where it has characters that mean something else."""
    bare = _BARE_NAME.fullmatch(value.name)
    return f"%{value.name if bare else json.dumps(value.name, ensure_ascii=False)}"


def _plain_type(value: Value) -> str:
    """A type without its quantisation, which constants and ops state."""
    text = str(value.type)
    return text if value.type.quant is None else text.removesuffix(str(value.type.quant))


def _place(loc: Loc) -> str:
    parts = [loc.module, loc.source] if loc.source else [loc.module]
    if any(part != part.strip() or not part or {*part} & {*'()"'} for part in parts):
        parts = [json.dumps(part, ensure_ascii=False) for part in parts]
    return parts[0] if len(parts) == 1 else f"{parts[0]} ({parts[1]})"


def _fields(op: Op, whole: bool) -> str:
    """The fields of an op that are not as by default: " stride=[2, 2] p=0.1".

    The short form leaves out quantisation, which the type says.
    """
    assert is_dataclass(op)  # every op is; its base class cannot say so
    shown = (
        (f.name, value)
        for f in fields(op)
        if repr(value := getattr(op, f.name)) != repr(f.default)
        and (whole or not isinstance(value, QuantParams))
    )
    return "".join(f" {name}={_item(value, whole)}" for name, value in shown)


def _item(value: object, whole: bool) -> str:
    match value:
        case float():
            return repr(value) if whole else f"{value:.6g}"
        case tuple() if len(value) > _MOST_SHOWN and not whole:
            first = ", ".join(_item(each, whole) for each in value[:_FIRST_SHOWN])
            return f"[{first}, ... {len(value)} in all]"
        case tuple():
            return f"[{', '.join(_item(each, whole) for each in value)}]"
        case Enum():
            return str(value.value)
        case QuantParams():
            return _quant(value)
        case Step():
            return _step(value, whole)
    return str(value)


def _step(step: Step, whole: bool) -> str:
    """A step of a composite: "softplus(x)", "affine(s1, 2.0, 0.5)"; s1 is what step 1 gives."""
    operands = ["x" if operand == 0 else f"s{operand}" for operand in step.operands]
    no_parameter = step.function is not None and repr(step.numbers) == "(0.0,)"
    numbers = () if no_parameter else step.numbers
    called = (step.function or step.operation).value
    return f"{called}({', '.join([*operands, *(_item(n, whole) for n in numbers)])})"


def _quant(quant: QuantParams) -> str:
    """<0.05, z=3, 0..127>, or <[0.5, 0.25], z=[1, 2], 0..127, axis=0> for an axis with its own."""
    if quant.axis is None:
        return f"<{quant.scale[0]!r}, z={quant.zero_point[0]}, {quant.low}..{quant.high}>"
    zeros = {*quant.zero_point}
    zero = str(zeros.pop()) if len(zeros) == 1 else str([*quant.zero_point])
    scales = f"[{', '.join(map(repr, quant.scale))}]"
    return f"<{scales}, z={zero}, {quant.low}..{quant.high}, axis={quant.axis}>"


def _constant(value: Value, array: Array) -> str:
    quant = "" if value.type.quant is None else f" {_quant(value.type.quant)}"
    return f"{_plain_type(value)}{quant} {_elements(array)}"


def _elements(array: Array) -> str:
    """Few elements one by one; many as one number if all are alike, or else as their bytes."""
    if array.size <= _MOST_INLINE:
        return _nested(array)
    little = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
    first = little.reshape(-1)[:1].tobytes()
    if little.tobytes() == first * array.size:
        return f"splat({_number(array.reshape(-1)[:1].reshape(()))})"
    return f'hex "{little.tobytes().hex()}"'


def _nested(array: Array) -> str:
    if array.ndim == 0:
        return _number(array)
    return f"[{', '.join(_nested(np.asarray(part)) for part in array)}]"


def _number(element: Array) -> str:
    """The shortest text of a 0-d array that its type reads back bit for bit."""
    text = str(element)
    if element.dtype != np.float32:
        return text
    if np.array(float(text), np.float32).tobytes() != element.tobytes():
        text = repr(float(element))
    return text if text == "-0.0" else text.removesuffix(".0")
