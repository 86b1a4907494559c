"""JSON as files hold it: UTF-8, no key twice, nothing that JSON lacks, all of it bounded."""

from __future__ import annotations

import json
from math import isfinite
from typing import NoReturn

from qbnnc.ir.codec import DecodeError, Json
from qbnnc.support import limits


def parse(text: bytes) -> Json:
    """The value of a JSON text; DecodeError if it is no JSON, or beyond the limits.

    Whole numbers, nesting and strings are held to `qbnnc.support.limits`. Numbers are finite, and
    strings are Unicode without surrogates.
    """
    try:
        limits.HEADER.check(len(text))
        value: Json = json.loads(
            text.decode(),
            parse_int=_whole,
            parse_float=_finite,
            parse_constant=_refuse_constant,
            object_pairs_hook=_object,
        )
    except RecursionError:
        raise DecodeError("the records are nested too deeply") from None
    except ValueError as error:  # JSONDecodeError, UnicodeDecodeError, or a number of many digits
        raise DecodeError(str(error)[:200]) from None
    _check_nesting(value)
    if b"\\u" in text:
        _check_texts(value)
    return value


def _whole(digits: str) -> int:
    number = int(digits)
    _held(limits.NUMBER, number)
    return number


def _finite(digits: str) -> float:
    number = float(digits)
    if not isfinite(number):
        raise DecodeError(f"the number {digits[:40]} is too large")
    return number


def _refuse_constant(name: str) -> NoReturn:
    raise DecodeError(f"{name} is no JSON")


def _object(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    entries = dict(pairs)
    if len(entries) != len(pairs):
        raise DecodeError("a record has a field twice")
    return entries


def _check_nesting(value: Json) -> None:
    """DecodeError if there is more in one another than the limit says."""
    level, depth = [value], 0
    while level := [item for outer in level for item in _containers(outer)]:
        depth += 1
        _held(limits.NESTING, depth)


def _containers(outer: Json) -> list[Json]:
    """The lists and objects right inside a list or an object."""
    inside = outer.values() if isinstance(outer, dict) else outer if isinstance(outer, list) else ()
    return [item for item in inside if isinstance(item, dict | list)]


def _check_texts(value: Json) -> None:
    """DecodeError if a text holds a surrogate, which only an escape can write."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise DecodeError("a text holds half of a character") from None


def _held(limit: limits.Limit, value: int) -> None:
    try:
        limit.check(value)
    except ValueError as error:
        raise DecodeError(str(error)) from None
