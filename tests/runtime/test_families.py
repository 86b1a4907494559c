"""One registry of instructions, from which opcodes, kernels and rules follow."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from qbnnc.runtime import families
from qbnnc.runtime.families import BY_OPCODE, INSTRUCTIONS, OPCODES
from qbnnc.runtime.kernels.entries import KERNELS
from qbnnc.runtime.program import Instruction
from qbnnc.runtime.verifier.program import RULES
from qbnnc.support.table import Table

NAMES = sorted(f.parent.name for f in Path(families.__file__).parent.glob("*/instructions.py"))


def classes(family: str) -> list[type[Instruction]]:
    """The instructions that a family defines: classes that are no base of another."""
    module = import_module(f"qbnnc.runtime.families.{family}.instructions")
    found = [c for c in vars(module).values() if getattr(c, "__module__", "") == module.__name__]
    mine = [c for c in found if isinstance(c, type) and issubclass(c, Instruction)]
    return [c for c in mine if not any(c in other.__mro__[1:] for other in mine)]


def test_every_instruction_is_registered_once() -> None:
    assert len(NAMES) > 1
    written = [c.__qualname__ for name in NAMES for c in classes(name)]
    assert sorted(written) == sorted(c.__qualname__ for c in INSTRUCTIONS)
    assert len(set(INSTRUCTIONS)) == len(INSTRUCTIONS)


def test_a_row_of_zeros_is_no_instruction() -> None:
    assert sorted(BY_OPCODE) == list(range(1, len(INSTRUCTIONS) + 1))
    assert all(BY_OPCODE[number] is kind for kind, number in OPCODES.items())


def test_every_instruction_has_one_kernel_and_one_rule() -> None:
    assert set(KERNELS) == set(RULES) == set(INSTRUCTIONS)


@pytest.mark.parametrize("kind", INSTRUCTIONS)
def test_kernel_and_rule_have_the_name_of_their_instruction(kind: type[Instruction]) -> None:
    """Instructions that share a base may share a rule, which then has the name of the base."""
    bases = [c for c in kind.__mro__[1:-1] if issubclass(c, Instruction) and c is not Instruction]
    assert KERNELS[kind].py_func.__name__ == kind.name()
    assert RULES[kind].__name__ in {c.name() for c in (kind, *bases)}


def test_names_are_the_classes_names_in_lower_case() -> None:
    assert [kind.name() for kind in classes("pooling")] == ["max_pool", "sum_pool", "max_unpool"]


def test_a_second_function_for_one_key_is_an_error() -> None:
    table = Table[str, object]()
    table.of("a", "b")(len)
    with pytest.raises(AssertionError, match="b"):
        table.of("b")(sum)
    assert table == {"a": len, "b": len}
