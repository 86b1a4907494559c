"""Frozen dataclasses to JSON and back, typed: what is read has the fields its class says."""

from __future__ import annotations

from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from types import UnionType
from typing import Any, TypeAlias, TypeVar, get_args, get_origin, get_type_hints

from qbnnc.ir.ops import ALL_OPS
from qbnnc.ir.ops.base import Op

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
T = TypeVar("T")

OPS: dict[str, type[Op]] = {cls.__name__: cls for cls in ALL_OPS}


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
            return {f.name: encode(getattr(value, f.name)) for f in fields(value)}
    raise TypeError(f"cannot encode {type(value).__name__}")


def decode(cls: type[T], record: Json) -> T:
    """The inverse of `encode`; DecodeError if the record is no `cls`."""
    if not isinstance(record, dict):
        raise DecodeError(f"a {cls.__name__} is an object, not {type(record).__name__}")
    hints = field_types(cls)
    if unknown := sorted(record.keys() - hints.keys()):
        raise DecodeError(f"a {cls.__name__} has no field {unknown[0]!r}")
    values = {}
    assert is_dataclass(cls)  # `field_types` has asked for its fields already
    for field in fields(cls):
        if field.name in record:
            values[field.name] = _typed(hints[field.name], record[field.name])
        elif field.default is MISSING:
            raise DecodeError(f"a {cls.__name__} needs the field {field.name!r}")
    try:
        return cls(**values)
    except ValueError as error:
        raise DecodeError(f"{cls.__name__}: {error}") from error


def encode_op(op: Op) -> Json:
    """{"op": class name, fields...}."""
    record = encode(op)
    assert isinstance(record, dict)
    return {"op": type(op).__name__, **record}


def decode_op(record: Json) -> Op:
    """The op a record names; DecodeError if there is no such op."""
    if not isinstance(record, dict) or not isinstance(name := record.get("op"), str):
        raise DecodeError("an op record names its op")
    if name not in OPS:
        raise DecodeError(f"there is no op {name!r}")
    return decode(OPS[name], {k: v for k, v in record.items() if k != "op"})


def field_types(cls: type) -> dict[str, Any]:
    """The annotations of a dataclass's fields, resolved."""
    names = {f.name for f in fields(cls)}
    return {name: hint for name, hint in get_type_hints(cls).items() if name in names}


def _typed(hint: Any, value: Json) -> object:
    if isinstance(hint, UnionType):
        if value is None and type(None) in get_args(hint):
            return None
        (hint,) = (h for h in get_args(hint) if h is not type(None))
    if get_origin(hint) is tuple:
        return _tuple(get_args(hint), value)
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if hint in (bool, int, str) and type(value) is hint:
        return value
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _member(hint, value)
    if isinstance(hint, type) and is_dataclass(hint):
        return decode(hint, value)
    raise DecodeError(f"{value!r} is no {hint}")


def _tuple(items: tuple[Any, ...], value: Json) -> tuple[object, ...]:
    if not isinstance(value, list):
        raise DecodeError(f"{value!r} is no list")
    if len(items) == 2 and items[1] is Ellipsis:
        return tuple(_typed(items[0], v) for v in value)
    if len(items) != len(value):
        raise DecodeError(f"{value!r} has not {len(items)} elements")
    return tuple(_typed(item, v) for item, v in zip(items, value, strict=True))


def _member(hint: type[Enum], value: Json) -> Enum:
    try:
        return hint(value)
    except ValueError as error:
        raise DecodeError(f"{value!r} is no {hint.__name__}") from error
