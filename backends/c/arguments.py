"""The inputs of a C model: a pointer for each, named as the user's argument."""

from __future__ import annotations

import re

from qbnnc.ir.model import Model
from qbnnc.support.several_inputs import Entries

_TAKEN = frozenset(
    "st seed row rows samples sample out error s i m x n d memory totals "
    "alignas alignof and and_eq asm auto bitand bitor bool break case catch char class const "
    "constexpr continue decltype default delete do double else enum explicit export extern false "
    "float for friend goto if inline int long mutable namespace new noexcept not not_eq nullptr "
    "operator or or_eq private protected public register reinterpret_cast restrict return short "
    "signed sizeof static struct switch template this throw true try typedef typeid typename "
    "typeof union unsigned using virtual void volatile wchar_t while xor xor_eq "
    "int8_t uint8_t int16_t uint16_t int32_t uint32_t int64_t uint64_t NULL INFINITY".split()
)


def argument_names(entries: Entries) -> tuple[str, ...]:
    """The names of the pointers: "x" of one input, and the user's names as C takes them."""
    if len(entries) == 1:
        return ("x",)
    made = list[str]()
    for entry in entries:
        name = re.sub(r"\W", "_", entry.name, flags=re.ASCII).strip("_")
        if not name[:1].isalpha():
            name = f"input_{name}".rstrip("_")
        macros = {other.upper() for other in made}  # "a" and "A" would share one
        while name in _TAKEN or name.upper() in macros or re.match(r"out\d*$|qb_", name):
            name += "_in"
        made.append(name)
    return tuple(made)


def declared_inputs(model: Model, ctype: str = "float") -> str:
    """ "const float *image, const float *features" """
    return ", ".join(f"const {ctype} *{name}" for name in argument_names(model.inputs))


def passed_on(model: Model) -> str:
    """ "image, features": the arguments of one function as those of another."""
    return ", ".join(argument_names(model.inputs))


def kept_row(model: Model, *, ids: bool) -> str:
    """C that keeps the row for the members of an ensemble, and looks at its numbers.

    A row of `ids` alone has a check of its own.
    """
    lines = ["  int32_t i;"]
    for name, entry in zip(argument_names(model.inputs), model.inputs, strict=True):
        place = f"{entry.start} + i" if entry.start else "i"
        lines.append(f"  for (i = 0; i < {entry.size}; i++) {{")
        if not ids:
            lines.append(f"    if (!({name}[i] - {name}[i] == 0.0f)) error = 1;")
        lines += [f"    st->x[{place}] = {name}[i];", "  }"]
    return "\n".join(lines)


def unused(model: Model) -> str:
    """C that reads each input, so that no compiler warns."""
    return "".join(f"  (void){name};\n" for name in argument_names(model.inputs))


def of_row(entries: Entries, row: str) -> str:
    """ "row, row + 192": the inputs that stand one after another in an array."""
    return ", ".join(f"{row} + {e.start}" if e.start else row for e in entries)


def input_sizes(model: Model, upper: str) -> str:
    """The macros of the sizes of several inputs; "" for one."""
    if len(model.inputs) == 1:
        return ""
    names = argument_names(model.inputs)
    return "".join(
        f"#define {upper}_INPUT_{name.upper()} {entry.size} /* {list(entry.shape)} */\n"
        for name, entry in zip(names, model.inputs, strict=True)
    )
