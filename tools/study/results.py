"""The rows of a study: JSON lines, one for each piece of work, written as they come.

A header comes first; results and sensitivities follow in any order. `error`, `ece`, accuracies and
confidences are fractions in [0, 1]. Entropies and NLL are in nats, `rmse` is in the units of the
target. NaN and infinities are written as the texts "nan", "inf" and "-inf".
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from enum import Enum
from itertools import pairwise
from reprlib import repr
from types import NoneType, UnionType
from typing import Final, TypeAlias, TypeVar, get_args, get_origin

import numpy as np

from qbnnc.ir.codec import DecodeError, Json, field_types
from qbnnc.ir.head import Task
from qbnnc.support.errors import FileError
from qbnnc.support.files import read_bytes

VERSION: Final = 1
Metrics: TypeAlias = Mapping[str, float]
T = TypeVar("T")


class Precision(Enum):
    """The kind of a network's numbers: float, quantised after training, or in training."""

    FLOAT = "float"
    PTQ = "ptq"
    QAT = "qat"


@dataclass(frozen=True, slots=True)
class Header:
    """The first row. `created_with` holds versions and the command.

    `data` describes data and options, `digest` identifies them. ValueError for a raw task.
    """

    name: str
    method: str
    task: Task
    digest: str
    created_with: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.task is Task.RAW:
            raise ValueError("the task is classification or regression")


@dataclass(frozen=True, slots=True)
class Bin:
    """One bin of a calibration curve (Guo et al., 2017): means over its `count` predictions."""

    count: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Entropies:
    """Histogram of predictive entropies in nats: `edges` ascend, one more than there are counts."""

    edges: tuple[float, ...]
    test: tuple[int, ...]
    ood: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, self.edges)) or any(a >= b for a, b in pairwise(self.edges)):
            raise ValueError("the edges of a histogram are finite and ascend")
        for counts in (self.test, self.test if self.ood is None else self.ood):
            if len(counts) != len(self.edges) - 1 or min(counts, default=-1) < 0:
                raise ValueError("a histogram has one edge more than counts, none below 0")


@dataclass(frozen=True, slots=True)
class Shifted:
    """Metrics on test data under one distribution shift: "rotation" by 15 (degrees)."""

    shift: str
    amount: float
    metrics: Metrics


@dataclass(frozen=True, slots=True)
class Result:
    """A network at one precision with one seed, or the sentence that says why there is none.

    `weights` and `activations` are bits, None for float. `metrics` are on test data, `ood` on
    out-of-distribution data. `sizes` are bytes by file format. `costs` of one row with its samples
    are "macs", multiplications, and "milliseconds" of CPU time with one thread in the integer
    runtime. `key` is unique in a study.
    ValueError if the fields contradict each other.
    """

    key: str
    network: str
    method: str
    precision: Precision
    weights: int | None
    activations: int | None
    seed: int
    samples: int
    metrics: Metrics = field(default_factory=dict)
    ood: Metrics | None = None
    calibration: tuple[Bin, ...] | None = None
    entropy: Entropies | None = None
    shifts: tuple[Shifted, ...] = ()
    sizes: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    error: str | None = None
    costs: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        bits = (self.weights, self.activations)
        if self.precision is Precision.FLOAT and bits != (None, None):
            raise ValueError("a float result has no bits")
        if self.precision is not Precision.FLOAT and not all(b in range(2, 9) for b in bits):
            raise ValueError("weights and activations have 2 to 8 bits")
        if bool(self.metrics) == (self.error is not None):
            raise ValueError("a result has metrics, or an error and none")


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """Metrics with one layer at these bits and the others at the base bits.

    `baseline` are the metrics with all layers at the base bits.
    """

    network: str
    layer: str
    weights: int
    activations: int
    metrics: Metrics
    baseline: Metrics


Row: TypeAlias = Header | Result | Sensitivity
_NOT_FINITE: Final = ("nan", "inf", "-inf")
_WORDS: Final[Mapping[object, str]] = {int: "a whole number", float: "a number", str: "a text"}
_KINDS: Final[Mapping[str, type[Row]]] = {
    "study": Header,
    "result": Result,
    "sensitivity": Sensitivity,
}


def to_json(row: Row) -> str:
    """One line of JSON, without its end; numbers of numpy become plain ones."""
    kind = next(kind for kind, cls in _KINDS.items() if cls is type(row))
    version = {"version": VERSION} if kind == "study" else {}
    record = {"kind": kind, **version, **_fields(row)}
    return json.dumps(record, allow_nan=False)


def from_json(line: str, path: str | os.PathLike[str], number: int) -> Row:
    """Read the row on line `number` (from 1) of `path`; FileError names both if it is none."""
    try:
        record = json.loads(line, parse_constant=_no_constant)
        return _row(record)
    except (ValueError, RecursionError, OverflowError) as error:
        raise FileError(
            _reason(error), f"{path}:{number}", "repair the line or remove it"
        ) from None


def read_rows(path: str | os.PathLike[str], *, interrupted: bool = False) -> tuple[Row, ...]:
    """All rows of a study's file, which begins with its header; blank lines are passed over.

    If a result failed and was repeated, the last row counts. With `interrupted`, a last line
    without its end is left out: a study that was stopped while writing may leave one. FileError,
    which names the line, for anything that is no row of this version.
    """
    try:
        text = read_bytes(path).decode()
    except UnicodeDecodeError:
        raise FileError(
            "not the results of a sweep", path, "give the .jsonl that qbnnc sweep -o wrote"
        ) from None
    lines = text.split("\n")
    if interrupted:
        lines[-1] = ""
    rows: dict[str, Row] = {}
    for number, line in enumerate(lines, 1):
        if line.strip():
            row = from_json(line, path, number)
            if not rows and not isinstance(row, Header):
                raise FileError("a study begins with its header", f"{path}:{number}")
            _add(rows, row, f"{path}:{number}")
    return tuple(rows.values())


def _add(rows: dict[str, Row], row: Row, place: str) -> None:
    key = f"result {row.key}" if isinstance(row, Result) else f"line {place}"
    earlier = rows.pop(key, None)
    if isinstance(earlier, Result) and earlier.error is None:
        raise FileError(f"a second result with key {key[7:]!r}", place, "remove one of them")
    if rows and isinstance(row, Header):
        raise FileError("a second header", place, "keep each study in a file of its own")
    rows[key] = row


def _fields(value: object) -> dict[str, Json]:
    assert is_dataclass(value)  # one of this file
    return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}


def _plain(value: object) -> Json:
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return float(value) if math.isfinite(value) else str(float(value))
        case np.generic():
            return _plain(value.item())
        case Enum():
            return str(value.value)
        case Mapping():
            return {str(k): _plain(v) for k, v in value.items()}
        case tuple() | list():
            return [_plain(v) for v in value]
    return _fields(value)


def _row(record: Json) -> Row:
    """Convert a JSON value to a row; ValueError names the fault."""
    if not isinstance(record, dict) or not isinstance(kind := record.pop("kind", None), str):
        raise DecodeError('a row is an object with a "kind"')
    match kind:
        case "study":
            if (version := record.pop("version", None)) != VERSION:
                raise DecodeError(f"version {version!r} of studies; this qbnnc reads {VERSION}")
            return _decode(Header, record)
        case "result":
            return _decode(Result, record)
        case "sensitivity":
            return _decode(Sensitivity, record)
    raise DecodeError(f"no kind of row: {kind!r} (a study of a newer qbnnc?)")


def _decode(cls: type[T], record: Json) -> T:
    """Convert a JSON object that has exactly the fields of `cls`."""
    if not isinstance(record, dict):
        raise DecodeError(f"{repr(record)} is no object")
    hints = field_types(cls)
    if missing := sorted(hints.keys() - record.keys()):
        raise DecodeError(f"the field {missing[0]!r} is missing")
    if unknown := sorted(record.keys() - hints.keys()):
        raise DecodeError(f"unknown field {unknown[0]!r} (a study of a newer qbnnc?)")
    return cls(**{name: _typed(hint, record[name], name) for name, hint in hints.items()})


def _typed(hint: object, value: Json, name: str) -> object:
    """Convert `value` to the type in a field's annotation; DecodeError if it has another."""
    if isinstance(hint, UnionType):
        inner = next(h for h in get_args(hint) if h is not NoneType)
        return None if value is None else _typed(inner, value, name)
    match get_origin(hint), value:
        case origin, list() if origin is tuple:
            return tuple(_typed(get_args(hint)[0], v, name) for v in value)
        case origin, dict() if origin is Mapping:
            return {k: _typed(get_args(hint)[1], v, f"{name} {k}") for k, v in value.items()}
    if hint is float and (type(value) in (int, float) or value in _NOT_FINITE):
        return float(str(value))
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _member(hint, value, name)
    if isinstance(hint, type) and is_dataclass(hint):
        return _decode(hint, value)
    if hint in (int, str) and type(value) is hint:
        return value
    raise DecodeError(f"{name} is {repr(value)}: {_WORDS.get(hint, 'a list or object')} is needed")


def _member(kind: type[Enum], value: Json, name: str) -> Enum:
    choices = {str(member.value): member for member in kind}
    if not isinstance(value, str) or value not in choices:
        raise DecodeError(f"{name} is {repr(value)}: write one of {', '.join(choices)}")
    return choices[value]


def _no_constant(name: str) -> float:
    raise DecodeError(f'{name} is no JSON: write it as the text "nan", "inf" or "-inf"')


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError | RecursionError):
        return "no line of JSON"
    return str(error)
