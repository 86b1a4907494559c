"""Values of options, checked: the error begins with the option."""

from __future__ import annotations

import math
from contextlib import suppress
from enum import Enum
from typing import SupportsFloat, TypeVar

from qbnnc.ir.errors import UserError
from qbnnc.ir.inputs import as_integer

E = TypeVar("E", bound=Enum)


def choice(option: str, kind: type[E], value: object) -> E:
    """The member of an enum by its value; UserError that lists them.

    >>> from qbnnc.passes.options import Scales
    >>> choice("--scales", Scales, "pow2")
    <Scales.POW2: 'pow2'>
    """
    try:
        return kind(value)
    except ValueError:
        choices = ", ".join(str(member.value) for member in kind)
        raise UserError(f"{option} {value!r}: choose one of {choices}") from None


def number(option: str, value: object) -> float:
    """A finite number; UserError otherwise.

    >>> number("--lr", 1)
    1.0
    """
    if isinstance(value, SupportsFloat) and not isinstance(value, bool):
        with suppress(ValueError, TypeError, OverflowError):
            if math.isfinite(found := float(value)):
                return found
    raise UserError(f"{option} {value!r}: give a finite number")


def whole(option: str, value: object, least: int, most: int | None = None) -> int:
    """A whole number that is not below `least` or above `most`; UserError otherwise.

    >>> whole("--samples", 20, 1)
    20
    """
    number = as_integer(value, option)
    if number < least:
        raise UserError(f"{option} {number}: give {least} or more")
    if most is not None and number > most:
        raise UserError(f"{option} {number}: give {most} or less")
    return number
