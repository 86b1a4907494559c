"""Reads the parts of a line of a graph's text: types, fields, constants' elements, places."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Final, TypeVar

import numpy as np

from qbnnc.ir.codec import Json
from qbnnc.ir.ops.composite import Operation
from qbnnc.ir.ops.functions import Function
from qbnnc.ir.text_scanner import Scanner
from qbnnc.ir.types import Array, Axis, DType, TensorType
from qbnnc.support import limits
from qbnnc.support.errors import Loc

T = TypeVar("T")

_DTYPES: Final = {dtype.value: dtype for dtype in DType}
_AXES: Final = {axis.value: axis for axis in Axis}
_CONSTANTS: Final[Mapping[str, Json]] = {"True": True, "False": False, "None": None}
_FUNCTIONS: Final = {function.value for function in Function}
_OPERATIONS: Final = {operation.value for operation in Operation} - {Operation.FUNCTION.value}
_OPERAND: Final = re.compile(r"x|s([1-9]\d{0,5})")
_BARE_PLACE: Final = re.compile(r'([^()"]+?)(?: \(([^()"]+)\))?')
_QUOTED_PLACE: Final = re.compile(r'("(?:[^"\\]|\\.)*")(?: \(("(?:[^"\\]|\\.)*")\))?')


def one_of(scan: Scanner, known: Mapping[str, T], expected: str) -> T:
    """Read one of the known words; TextError, which lists them, for another."""
    start = scan.at
    word = scan.word(expected)
    if word not in known:
        raise scan.error(f"expected {expected} ({', '.join(known)}), found {word[:40]!r}", start)
    return known[word]


def tensor_type(scan: Scanner) -> TensorType:
    """Read a type without quantisation: f32[3,8,8]{row,sample}."""
    dtype = one_of(scan, _DTYPES, "an element type")
    shape, axes = list[int](), set[Axis]()
    scan.expect("[")
    while not scan.takes("]"):
        if shape:
            scan.expect(",")
        shape.append(scan.whole())
    if scan.takes("{"):
        axes.add(one_of(scan, _AXES, "an axis"))
        while scan.takes(","):
            axes.add(one_of(scan, _AXES, "an axis"))
        scan.expect("}")
    return TensorType(dtype, tuple(shape), frozenset(axes))


def fields(scan: Scanner) -> dict[str, Json]:
    """Read the fields of an op, stride=[2, 2] p=0.1, as the records of files have them."""
    found: dict[str, Json] = {}
    while True:
        start = scan.at
        if (name := scan.field()) is None:
            return found
        if name in found:
            raise scan.error(f"the field {name} is given twice", start)
        found[name] = _item(scan)


def _item(scan: Scanner, depth: int = 1) -> Json:
    start = scan.at
    if scan.takes("["):
        if depth > limits.NESTING.most:
            raise scan.error(f"more than {limits.NESTING.most} lists in one another", start)
        return _list(scan, depth)
    if scan.sees("<"):
        return quantisation(scan)
    if scan.sees_number:
        return scan.number()
    word = scan.word("a number, a word, '[' or '<'")
    if scan.takes("("):
        return _step(scan, word, start)
    return _CONSTANTS.get(word, word)


def _list(scan: Scanner, depth: int) -> list[Json]:
    items = list[Json]()
    while not scan.takes("]"):
        if items:
            scan.expect(",")
        items.append(_item(scan, depth + 1))
    return items


def _step(scan: Scanner, called: str, start: int) -> Json:
    """Read the rest of a step of a composite: "s1, 2.0, 0.5)" after "affine("."""
    if called not in _FUNCTIONS | _OPERATIONS:
        raise scan.error(f"there is no function or operation {called[:40]!r}", start)
    operands, numbers, first = list[Json](), list[Json](), True
    while not scan.takes(")"):
        if not first:
            scan.expect(",")
        first = False
        if scan.sees_number:
            numbers.append(scan.number())
            continue
        place = scan.at
        operand = _OPERAND.fullmatch(scan.word("an operand, x or s1, or a number"))
        if operand is None:
            raise scan.error("an operand is x, or s1 for the result of step 1", place)
        operands.append(int(operand[1] or 0))
    is_function = called in _FUNCTIONS
    return {
        "operation": Operation.FUNCTION.value if is_function else called,
        "operands": operands,
        "numbers": numbers or [0.0] if is_function else numbers,
        "function": called if is_function else None,
    }


def quantisation(scan: Scanner) -> dict[str, Json]:
    """Read <0.05, z=3, 0..127>, or <[0.5, 0.25], z=0, -127..127, axis=0>, as a record."""
    scan.expect("<")
    scale = _numbers(scan)
    scan.expect(",")
    scan.expect("z=")
    zero = _numbers(scan)
    scan.expect(",")
    low = scan.whole()
    scan.expect("..")
    high, axis = scan.whole(), None
    if scan.takes(","):
        scan.expect("axis=")
        axis = scan.whole()
    scan.expect(">")
    zero = zero * len(scale) if len(zero) == 1 else zero
    return {"scale": scale, "zero_point": zero, "low": low, "high": high, "axis": axis}


def _numbers(scan: Scanner) -> list[Json]:
    if not scan.takes("["):
        return [scan.number()]
    numbers: list[Json] = [scan.number()]
    while scan.takes(","):
        numbers.append(scan.number())
    scan.expect("]")
    return numbers


def elements(scan: Scanner, type: TensorType) -> Array:
    """Read [[1, 2], [3, 4]], or splat(0) for equal elements, or hex "..." for their bytes.

    The bytes are little-endian. TextError if they, or the numbers, do not fit the type.
    """
    start = scan.at
    if scan.takes("splat"):
        scan.expect("(")
        number = _array(scan, scan.number(), type.dtype, start)
        scan.expect(")")
        return np.full(type.shape, number, type.dtype.numpy)
    if scan.takes("hex"):
        digits = scan.text()
        if len(digits) != 2 * type.nbytes or re.fullmatch("[0-9a-f]*", digits) is None:
            raise scan.error(f"expected {type.nbytes} bytes as hexadecimal digits", start)
        stored = np.frombuffer(bytes.fromhex(digits), type.dtype.numpy.newbyteorder("<"))
        return stored.astype(type.dtype.numpy).reshape(type.shape)
    if not scan.sees("[") and not scan.sees_number:
        raise scan.unexpected("the elements: a number, '[', 'splat' or 'hex'")
    listed = _item(scan)
    if not _has_shape(listed, type.shape):
        raise scan.error(f"expected elements of the shape {list(type.shape)}", start)
    return _array(scan, listed, type.dtype, start)


def _has_shape(listed: Json, shape: tuple[int, ...]) -> bool:
    if not shape:
        return not isinstance(listed, list)
    is_list = isinstance(listed, list) and len(listed) == shape[0]
    return is_list and all(_has_shape(each, shape[1:]) for each in _parts(listed))


def _parts(listed: Json) -> list[Json]:
    return listed if isinstance(listed, list) else []


def _leaves(listed: Json) -> Iterator[Json]:
    if not isinstance(listed, list):
        yield listed
    for part in _parts(listed):
        yield from _leaves(part)


def _array(scan: Scanner, listed: Json, dtype: DType, start: int) -> Array:
    """Numbers in lists of one shape; TextError if one is none of the element type."""
    kinds = (int, float) if dtype is DType.F32 else (int,)
    for leaf in _leaves(listed):
        fits = type(leaf) in kinds
        if fits and dtype is not DType.F32:
            assert isinstance(leaf, int)
            fits = np.iinfo(dtype.numpy).min <= leaf <= np.iinfo(dtype.numpy).max
        if not fits:
            raise scan.error(f"{str(leaf)[:40]} is no {dtype.value}", start)
    with np.errstate(over="ignore"):  # the check of the graph says that infinity is no weight
        return np.array(listed, np.float64 if dtype is DType.F32 else None).astype(dtype.numpy)


def place(scan: Scanner, name: str) -> Loc:
    """Read "# module (source)" after a node; without one, the place is the node's name."""
    start = scan.at
    if (text := scan.place()) is None:
        return Loc(name)
    if bare := _BARE_PLACE.fullmatch(text):
        return Loc(bare[1], bare[2] or "")
    if quoted := _QUOTED_PLACE.fullmatch(text):
        try:
            return Loc(json.loads(quoted[1]), json.loads(quoted[2] or '""'))
        except ValueError:
            raise scan.error("the place has an escape that JSON lacks", start) from None
    raise scan.error("expected a place: module (source), both in quotes if they need it", start)
