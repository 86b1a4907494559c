"""What a rule is: one aten op (all its overloads) to what is known of its result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from qbnnc.frontend.convert.call import Call
from qbnnc.frontend.convert.values import Result

Rule: TypeAlias = Callable[[Call], Result]
Rules: TypeAlias = Mapping[str, Rule]  # by the op's name without its overload
