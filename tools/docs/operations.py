"""The ops of each level as Markdown, from their classes."""

from __future__ import annotations

import inspect
from dataclasses import MISSING, Field, fields

from qbnnc.ir.ops import OPS, Op, RandomOp
from qbnnc.ir.ops.base import op_name
from qbnnc.ir.types import Stage

TRAITS = (
    "keeps_codes",
    "adds_zeros",
    "elementwise",
    "composable",
    "has_own_scale",
    "leaves_as_number",
    "commutes_with_clamp",
    "commutes_with_factor",
    "makes_accumulators",
)
TITLES = {
    Stage.FLOAT: "Float level",
    Stage.SIMULATED: "Simulated level",
    Stage.INTEGER: "Integer level",
}


def operations() -> str:
    """A section for each level; an op is told at the first level that has it."""
    told, parts = set[str](), list[str]()
    for stage, title in TITLES.items():
        here = {name: cls for name, cls in sorted(OPS.items()) if stage in cls.stages}
        again = sorted(op_name(OPS[name]) for name in here if name in told)
        parts.append(f"## {title}")
        if again:
            parts.append("Told above: " + ", ".join(f"`{name}`" for name in again) + ".")
        parts += [_op(cls) for name, cls in here.items() if name not in told]
        told |= {*here}
    return "\n\n".join(parts)


def _op(cls: type[Op]) -> str:
    lines = [f"### {op_name(cls)}", _meaning(cls)]
    if listed := [_field(field) for field in fields(cls)]:  # type: ignore[arg-type]
        lines.append("| field | type | default |\n|---|---|---|\n" + "\n".join(listed))
    traits = [trait for trait in TRAITS if getattr(cls, trait) is True]
    traits += ["random"] if issubclass(cls, RandomOp) else []
    if traits:
        lines.append("Traits: " + ", ".join(f"`{trait}`" for trait in traits) + ".")
    return "\n\n".join(lines)


def _meaning(cls: type[Op]) -> str:
    """The docstring; its stars are products and unpacked shapes, and no emphasis."""
    return inspect.cleandoc(cls.__doc__ or "").replace("*", "\\*")


def _field(field: Field[object]) -> str:
    default = "" if field.default is MISSING else f"`{field.default!r}`"
    kind = str(field.type).replace("|", "\\|")
    return f"| `{field.name}` | `{kind}` | {default} |"


if __name__ == "__main__":
    print(operations())
