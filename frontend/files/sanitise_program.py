"""Make an exported program of unknown origin safe to hand to torch.export.load.

torch.export.load (2.13) runs code from the file in several places. The file is rejected, or the
part is dropped because a compiler has no use for it:

1. Sample inputs are loaded with weights_only=False when weights_only=True fails. They must load
   with weights_only=True, and are dropped all the same.
2. Symbolic sizes (`expr_str`) go through sympy's `sympify`, which evaluates Python. Only plain
   arithmetic over size symbols passes, and no powers: their evaluation may never end.
3. Weights and constants with `use_pickle`, and files of the older layout (data/weights/*.pt), are
   unpickled. They are rejected.
4. Custom and opaque objects among the constants are unpickled. They are rejected.
5. Compiled code (AOTInductor) is loaded as a shared library. It is rejected.
6. A node's target is any attribute of torch, math or operator, and is later called. Only aten ops
   that do not read files, and arithmetic on sizes, pass.
7. Tree specs import the modules that they name. Only tuples, lists and dicts pass.
8. Guards are Python source. They are dropped, with all metadata but stack_trace and
   nn_module_stack.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, cast

import torch

from qbnnc.frontend.files.zip_archive import read_members, write_members
from qbnnc.support.errors import FileError

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"

_MEMBERS = re.compile(
    r"models/\w+\.json|data/(weights|constants)/(weight_\d+|tensor_\d+|\w+_config\.json)"
    r"|data/sample_inputs/\w+\.pt|extra/.*"
    r"|archive_format|archive_version|byteorder|version|\.data/(version|serialization_id|align.*)"
)
_TARGETS = re.compile(
    r"torch\.ops\.aten\.(?!\w*(from_file|save|load))\w+\.\w+"
    r"|_operator\.(add|sub|mul|floordiv|mod|getitem|ge|gt|le|lt|eq|ne|neg|truediv|and_|or_)"
    r"|math\.(floor|ceil|trunc)|torch\.sym_(int|float|max|min|not|ite|sum)"
    r"|torch\.ops\.higher_order\.wrap_with_(set_grad_enabled|autocast)"
)
_SIZE_TOKEN = re.compile(
    r"Symbol\('[su]\d{1,9}'(?:, (?:positive|integer|nonnegative|zero|nonzero)=(?:True|False))*\)"
    r"|(?:Mul|Add|Integer|Mod|FloorDiv|Max|Min)(?=\()|\d{1,18}(?!\d)|[-+*/(), ]"
)
_TREE_TYPES = frozenset({None, "builtins.tuple", "builtins.list", "builtins.dict"})
_KEPT_METADATA = frozenset({"stack_trace", "nn_module_stack"})
_MAX_SIZE_TEXT = 400


class _Hostile(Exception):
    """Tells why the file is rejected; becomes a FileError with the path in front."""


@dataclass(frozen=True, slots=True)
class SafeProgram:
    """`archive` may be given to torch.export.load; `extra` are the extra files, by name."""

    archive: io.BytesIO
    extra: Mapping[str, bytes]


def sanitise(path: Path) -> SafeProgram:
    """Rewrite the archive without what could run code; FileError if a needed part could."""
    members = read_members(path)
    try:
        clean = dict(_clean(name, data) for name, data in members.items())
    except _Hostile as error:
        raise FileError(
            f"{error}, and loading it could run code from the file",
            path,
            remedy="save the program again with qbnnc.save(module, path, example_inputs)",
        ) from error
    extra = {n: clean.pop(n) for n in members if n.startswith("extra/")}
    return SafeProgram(
        write_members(clean), {n.removeprefix("extra/"): data for n, data in extra.items()}
    )


def _clean(name: str, data: bytes) -> tuple[str, bytes]:
    if not _MEMBERS.fullmatch(name):
        raise _Hostile(f"member {name!r} is not part of a plain exported program")
    if name.startswith("models/"):
        return name, _rewritten(data, name, _clean_program)
    if name.endswith("_config.json"):
        return name, _rewritten(data, name, _clean_config)
    if name.startswith("data/sample_inputs/"):
        _check_sample_inputs(data)
        return name, b""
    return name, data


def _rewritten(data: bytes, name: str, clean: Callable[[Json], Json]) -> bytes:
    try:
        return json.dumps(clean(json.loads(data))).encode()
    except (ValueError, RecursionError) as error:
        raise _Hostile(f"member {name!r} is not proper JSON") from error


def _check_sample_inputs(data: bytes) -> None:
    if not data:
        return
    try:
        torch.load(io.BytesIO(data), weights_only=True)
    except Exception as error:  # a damaged pickle makes the reader raise anything
        raise _Hostile("the sample inputs hold something other than tensors") from error


def _clean_config(config: Json) -> Json:
    entries = config.get("config") if isinstance(config, dict) else None
    if not isinstance(entries, dict):
        raise _Hostile("the list of weights is not of a known form")
    for name, entry in entries.items():
        match entry:
            case {"use_pickle": False, "path_name": str(stored)} if _is_plain(stored):
                pass
            case _:
                raise _Hostile(f"weight {name!r} is stored as a pickle or custom object")
    return config


def _is_plain(stored: str) -> bool:
    return re.fullmatch(r"(weight|tensor)_\d+", stored) is not None


def _clean_program(program: Json) -> Json:
    if not isinstance(program, dict):
        raise _Hostile("the program is not of a known form")
    return {**cast("dict[str, Json]", _walk(program)), "guards_code": []}


def _walk(tree: Json) -> Json:
    match tree:
        case dict():
            return {key: _entry(key, value) for key, value in tree.items()}
        case list():
            return [_walk(item) for item in tree]
        case _:
            return tree


def _entry(key: str, value: Json) -> Json:
    """Check one entry of an object; its key tells its kind, wherever it stands."""
    match key, value:
        case "expr_str", _:
            _check_size(value)
        case "target", str() if not _TARGETS.fullmatch(value):
            raise _Hostile(f"op {value!r} is outside the aten ops that a network consists of")
        case (("in_spec" | "out_spec"), str()):
            _check_tree(json.loads(value))
        case (("as_custom_obj" | "as_operator" | "custom_obj"), _):
            raise _Hostile("the program holds custom objects")
        case "metadata", dict():
            return {k: v for k, v in value.items() if k in _KEPT_METADATA and isinstance(v, str)}
    return _walk(value)


def _check_size(text: Json) -> None:
    plain = isinstance(text, str) and len(text) <= _MAX_SIZE_TEXT and "**" not in text
    if not plain or _SIZE_TOKEN.sub("", cast(str, text)):
        raise _Hostile(f"symbolic size {str(text)[:60]!r} is not plain arithmetic")


def _check_tree(tree: Json) -> None:
    match tree:
        case list():
            for item in tree:
                _check_tree(item)
        case {"type": kind, "context": context, "children_spec": children}:
            if kind not in _TREE_TYPES or "__enum__" in str(context):
                raise _Hostile(f"inputs or outputs are of the type {kind!r}")
            _check_tree(children)
