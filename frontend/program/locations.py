"""Names and places, in the terms of the user's model."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

from torch import fx

from qbnnc.frontend.program.random_ops import op_name
from qbnnc.support.errors import Loc

NETWORK = "sampled_network"  # the user's network in a module of `frontend.objects`
_INVISIBLE = ("_orig_mod", NETWORK)
_OURS = Path(__file__).parents[1]
_TORCH_ITSELF = re.compile(r"(^|[/\\]site-packages[/\\])torch[/\\]")
_FRAME = re.compile(r'File "([^"]+)", line (\d+)')
_PLAIN_NAMES = {
    "native_dropout": "dropout",
    "native_batch_norm_legit_no_training": "batch_norm",
    "max_pool2d_with_indices": "max_pool2d",
    "view": "reshape",
    "unsafe_view": "reshape",
}


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """A place in the user's model: the name of its result, and the location for messages."""

    name: str
    loc: Loc

    def step(self, what: str) -> Place:
        """One of several ops that a call becomes."""
        return Place(f"{self.name}.{what}", self.loc)


class Namer:
    """Gives each node a name.

    The first op of a module without children has the module's path. Other ops are "path.op". An op
    of the outermost module has the op's name alone.
    """

    def __init__(self, nodes: Iterable[fx.Node]) -> None:
        calls = [_calls(node) for node in nodes]
        self._parents = {path for call in calls for path, _ in call[:-1]}
        self._named: set[str] = set()

    def place(self, node: fx.Node, op: str | None = None) -> Place:
        """The place of `node`; `op` names it where the aten op does not say what is meant."""
        path, call = _calls(node)[-1]
        name = path
        if path in self._parents or not path or call in self._named:
            name = f"{path}.{op or plain_name(node)}".removeprefix(".")
        self._named.add(call)
        return Place(name, Loc(path or name, source_line(node)))


def plain_name(node: fx.Node) -> str:
    """The op's name as a user would write it: "_native_batch_norm_..." is "batch_norm"."""
    name = op_name(node).strip("_") or str(node.target)
    return _PLAIN_NAMES.get(name, name)


def location(node: fx.Node) -> Loc:
    """The module and the line of code that `node` comes from, for a message about it."""
    return Loc(_calls(node)[-1][0] or plain_name(node), source_line(node))


def source_line(node: fx.Node) -> str:
    """ "net.py:42": the innermost line outside torch, without its folder; "" if unknown."""
    frames = _FRAME.findall(str(node.meta.get("stack_trace") or ""))
    own = [f for f in frames if not (_is_not_users(f[0]) or f[0].startswith("<eval_with_key>"))]
    return f"{PureWindowsPath(own[-1][0]).name}:{own[-1][1]}" if own else ""


def _calls(node: fx.Node) -> list[tuple[str, str]]:
    """(path of the module, key of this call), from the outermost module inwards."""
    stack = node.meta.get("nn_module_stack") or {}
    known = [(shown(entry[0]), key) for key, entry in stack.items() if key.startswith("L__self__")]
    return known or [("", "")]


def shown(path: str) -> str:
    """A module's path as the user knows it, without the wrappers that are not the user's."""
    return ".".join(part for part in path.split(".") if part not in _INVISIBLE)


def user_line(error: Exception) -> str:
    """ "net.py:42": the innermost line that is neither torch's nor ours; "" if there is none."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if not _is_not_users(f.filename)]
    return f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else ""


def _is_not_users(name: str) -> bool:
    return is_torch_file(name) or _OURS in Path(name).parents


def is_torch_file(name: str) -> bool:
    """Whether a file of code is torch's own; its traces name some files without a folder."""
    return _TORCH_ITSELF.search(name) is not None
