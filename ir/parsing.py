"""JSON as files hold it: UTF-8, no key twice, nothing that JSON lacks, all of it bounded."""

from __future__ import annotations

import json
from math import isfinite
from typing import NoReturn

from qbnnc.ir import limits
from qbnnc.ir.codec import DecodeError, Json


def parse(text: bytes) -> Json:
    """What the text says; DecodeError if it is no JSON, or beyond the limits.

    Whole numbers, nesting and strings are held to `qbnnc.ir.limits`, numbers are finite, strings
    are Unicode without surrogates.
    """
    try:
        limits.HEADER.check(len(text))
        value: Json = json.loads(
            text.decode(),
            parse_constant=_refuse_constant,
            object_pairs_hook=_object,
        )
    except RecursionError:
        raise DecodeError("the records are nested too deeply") from None
    except ValueError as error:  # JSONDecodeError, UnicodeDecodeError, or a number of many digits
        raise DecodeError(str(error)[:200]) from None
    _check(value)
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise DecodeError(f"{name} is no JSON")


def _object(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    entries = dict(pairs)
    if len(entries) != len(pairs):
        raise DecodeError("a record has a field twice")
    return entries


def _check(value: Json) -> None:
    """DecodeError if anything in `value` is beyond the limits."""
    open_ = [iter([value])]
    while open_:
        for item in open_[-1]:
            _check_leaf(item)
            if isinstance(item, dict | list):
                inside = item if isinstance(item, list) else [*item, *item.values()]
                open_.append(iter(inside))
                _held(limits.NESTING, len(open_))
                break
        else:
            open_.pop()


def _check_leaf(item: Json) -> None:
    match item:
        case bool():
            return
        case int():
            _held(limits.NUMBER, item)
        case float() if not isfinite(item):
            raise DecodeError("a number is too large")
        case str() if not item.isascii():
            try:
                item.encode()
            except UnicodeEncodeError:
                raise DecodeError("a text holds half of a character") from None


def _held(limit: limits.Limit, value: int) -> None:
    try:
        limit.check(value)
    except ValueError as error:
        raise DecodeError(str(error)) from None
