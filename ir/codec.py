"""Frozen dataclasses to JSON and back, typed: a record that is read has its class's fields.

A field that came with version n of the format is declared `field(default=..., metadata={"since":
n})`. It is left out of records while it has its default, so that older records stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import Enum
from functools import cache
from types import UnionType
from typing import Any, NamedTuple, TypeAlias, TypeVar, get_args, get_origin, get_type_hints

from qbnnc.ir.ops import OPS
from qbnnc.ir.ops.base import Op

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
T = TypeVar("T")

VERSION = 4  # of the file format: the newest that is read
USUAL_VERSION = 2  # the one that is written, unless a model needs a newer one
_MOST_SHOWN = 60


class DecodeError(ValueError):
    """A record that is not what its class says."""


def encode(value: object) -> Json:
    """Numbers, text, enums, tuples, and dataclasses of these (as an object of their fields)."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case Enum():
            return str(value.value)
        case tuple() | list():
            return [encode(item) for item in value]
        case _ if is_dataclass(value) and not isinstance(value, type):
            said = ((f, getattr(value, f.name)) for f in fields(value))
            return {f.name: encode(item) for f, item in said if not _left_out(f, item)}
    raise TypeError(f"cannot encode {type(value).__name__}")


def version_of(value: object) -> int:
    """The least version of the format that can hold all of `value`."""
    match value:
        case tuple() | list():
            return max(map(version_of, value), default=1)
        case _ if is_dataclass(value) and not isinstance(value, type):
            said = [(f, getattr(value, f.name)) for f in fields(value)]
            needed = [max(_since(f), version_of(v)) for f, v in said if not _left_out(f, v)]
            return max([value.since if isinstance(value, Op) else 1, *needed])
    return 1


def decode(cls: type[T], record: Json, version: int = VERSION) -> T:
    """The inverse of `encode`; DecodeError if the record is no `cls` of this version."""
    if not isinstance(record, dict):
        raise DecodeError(f"a {cls.__name__} is an object, not {type(record).__name__}")
    said = _fields_of(cls)
    known = {name for name, field in said.items() if field.since <= version}
    if unknown := sorted(record.keys() - known):
        raise DecodeError(f"a {cls.__name__} has no field {unknown[0][:40]!r}")
    values = {}
    for name, field in said.items():
        if name in record:
            value = values[name] = _typed(field.hint, record[name], version)
            if field.since > 1 and value == field.default:
                raise DecodeError(f"{cls.__name__}.{name} has its default: leave it out")
        elif field.default is MISSING:
            raise DecodeError(f"a {cls.__name__} needs the field {name!r}")
    try:
        return cls(**values)
    except ValueError as error:
        raise DecodeError(f"{cls.__name__}: {error}") from error


class _Field(NamedTuple):
    """A field of a dataclass as records may hold it."""

    hint: Any
    since: int
    default: object


def _fields_of(cls: type) -> Mapping[str, _Field]:
    return _resolved(cls)


@cache
def _resolved(cls: type) -> Mapping[str, _Field]:
    hints = field_types(cls)
    assert is_dataclass(cls)  # `field_types` has asked for its fields already
    return {f.name: _Field(hints[f.name], _since(f), f.default) for f in fields(cls)}


def entries(record: Json, what: str, *names: str) -> tuple[Json, ...]:
    """The fields of a record that has these and no others; DecodeError for another."""
    if not isinstance(record, dict):
        raise DecodeError(f"{what} is an object, not {type(record).__name__}")
    if record.keys() != {*names}:
        raise DecodeError(f"{what} has the fields {', '.join(names)}")
    return tuple(record[name] for name in names)


def items(value: Json, what: str) -> list[Json]:
    """The elements of a list; DecodeError if it is none."""
    if not isinstance(value, list):
        raise DecodeError(f"{what} are a list, not {type(value).__name__}")
    return value


def number(value: Json, what: str) -> int:
    """A whole number; DecodeError if it is none."""
    if type(value) is not int:
        raise DecodeError(f"{what} is a whole number")
    return value


def text(value: Json, what: str) -> str:
    """A text; DecodeError if it is none."""
    if not isinstance(value, str):
        raise DecodeError(f"{what} is a text")
    return value


def _since(field: Field[Any]) -> int:
    return int(field.metadata.get("since", 1))


def _left_out(field: Field[Any], value: object) -> bool:
    """Whether a record leaves out a field that has this value."""
    return _since(field) > 1 and bool(value == field.default)


def encode_op(op: Op) -> Json:
    """{"op": class name, fields...}."""
    record = encode(op)
    assert isinstance(record, dict)
    return {"op": type(op).__name__, **record}


def decode_op(record: Json, version: int = VERSION) -> Op:
    """The op a record names; DecodeError if there is no such op."""
    if not isinstance(record, dict) or not isinstance(name := record.get("op"), str):
        raise DecodeError("an op record names its op")
    if name not in OPS or OPS[name].since > version:
        raise DecodeError(f"there is no op {name!r}")
    return decode(OPS[name], {k: v for k, v in record.items() if k != "op"}, version)


def field_types(cls: type) -> dict[str, Any]:
    """The annotations of a dataclass's fields, resolved."""
    names = {f.name for f in fields(cls)}
    return {name: hint for name, hint in get_type_hints(cls).items() if name in names}


def _typed(hint: Any, value: Json, version: int) -> object:
    if isinstance(hint, UnionType):
        if value is None and type(None) in get_args(hint):
            return None
        (hint,) = (h for h in get_args(hint) if h is not type(None))
    if get_origin(hint) is tuple:
        return _tuple(get_args(hint), value, version)
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if hint in (bool, int, str) and type(value) is hint:
        return value
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _member(hint, value)
    if isinstance(hint, type) and is_dataclass(hint):
        return decode(hint, value, version)
    raise DecodeError(f"{_shown(value)} is no {getattr(hint, '__name__', hint)}")


def _tuple(hints: tuple[Any, ...], value: Json, version: int) -> tuple[object, ...]:
    if not isinstance(value, list):
        raise DecodeError(f"{_shown(value)} is no list")
    if len(hints) == 2 and hints[1] is Ellipsis:
        return tuple(_typed(hints[0], v, version) for v in value)
    if len(hints) != len(value):
        raise DecodeError(f"{_shown(value)} has not {len(hints)} elements")
    return tuple(_typed(item, v, version) for item, v in zip(hints, value, strict=True))


def _member(hint: type[Enum], value: Json) -> Enum:
    try:
        return hint(value)
    except ValueError as error:
        raise DecodeError(f"{_shown(value)} is no {hint.__name__}") from error


def _shown(value: Json) -> str:
    """The beginning of a record's text, for messages."""
    said = repr(value)
    return said if len(said) <= _MOST_SHOWN else f"{said[:_MOST_SHOWN]}..."
