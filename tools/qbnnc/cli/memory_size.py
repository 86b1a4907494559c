"""Sizes of memory on the command line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20}


if TYPE_CHECKING:
    _OfInt = click.ParamType[int]
else:
    _OfInt = click.ParamType  # no generic class before click 8.4


class MemorySize(_OfInt):
    """ "32k", "32kB" or "32768": bytes; k is 1,024 and M 1,048,576."""

    name = "size"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Read a size."""
        found = re.fullmatch(r"(\d{1,12})\s*([km]?)(?:i?b)?", str(value).strip().lower())
        if found is None or not int(found[1]):
            self.fail(f"{value!r} is no size, such as 32k", param, ctx)
        return int(found[1]) * _UNITS[found[2]]
