"""Ensembles: which files hold the members, and that all members are one network."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from qbnnc.frontend.distribution import Reference
from qbnnc.frontend.files.detect_format import FileKind, detect_format
from qbnnc.frontend.members.narrow import PART
from qbnnc.frontend.program.predictions import Returned, returned
from qbnnc.ir.graph import Graph, Node
from qbnnc.support.errors import CompileError, FileError, Loc

Paths: TypeAlias = str | Path | Sequence[str | Path]

_NOT_MODELS = (FileKind.TEXT, FileKind.NUMPY)  # notes and data beside the models in a folder


@dataclass(frozen=True, slots=True)
class Member:
    """A member of an ensemble; `name` is for messages: "net.pt", or "nets.pt[3]".

    `graph` was made of `reference`. `checked` tells how it was compared with its module when it was
    saved. `stated` are the names of outputs that the user gave then.
    """

    name: str
    graph: Graph
    reference: Reference
    calibration: NDArray[np.float32] | None = None
    checked: str = ""
    stated: tuple[str, ...] = ()

    @property
    def outputs(self) -> Returned:
        """All that forward returns, with the names that the user gave when it was saved."""
        found = returned(self.reference.traced.functional)
        return replace(found, stated=self.stated) if self.stated else found


def files_of(paths: Paths) -> list[Path]:
    """The files, and those in folders, "net2.pt" before "net10.pt"; FileError if there are none."""
    given = [paths] if isinstance(paths, str | Path) else list(paths)
    files = [file for path in map(Path, given) for file in _files_in(path)]
    if not files:
        raise FileError("is an empty list of files", "the ensemble", remedy="name at least one")
    return files


def _files_in(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = [f for f in path.iterdir() if f.is_file() and not f.name.startswith(".")]
    models = [f for f in sorted(files, key=_natural) if detect_format(f) not in _NOT_MODELS]
    if not models:
        raise FileError(
            "is a folder without models", path, remedy="name the files, or another folder"
        )
    return models


def _natural(path: Path) -> list[tuple[int, str]]:
    """A sort key of the file's name in which numbers compare as numbers."""
    return [
        (int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.name)
    ]


def check_same_network(members: Sequence[Member]) -> None:
    """Raise CompileError at the first node in which a member differs from the first member.

    Weights may differ, and numbers learnt with them (slopes, bounds). Ops, shapes and streams may
    not.
    """
    first = members[0]
    for member in members[1:]:
        for ours, theirs in zip_longest(first.graph.nodes, member.graph.nodes):
            if ours is None or theirs is None or _described(ours) != _described(theirs):
                _differ(first, ours, member, theirs)
        if _interface(first.graph) != _interface(member.graph):
            raise CompileError(
                f"{member.name} takes or gives {_interface(member.graph)} and {first.name} "
                f"{_interface(first.graph)}",
                "the network",
                remedy="the members of an ensemble must be one network",
            )


def _differ(first: Member, ours: Node | None, member: Member, theirs: Node | None) -> None:
    known = theirs or ours
    raise CompileError(
        f"{member.name} has {_text(theirs)} here, where {first.name} has {_text(ours)}",
        known.loc if known else Loc("the network"),
        remedy="the members of an ensemble must be one network",
    )


def _text(node: Node | None) -> str:
    return "nothing" if node is None else f"{node.op} giving {node.output.type}"


def _described(node: Node) -> tuple[object, ...]:
    op = node.op
    assert is_dataclass(op)  # every op is; its base class cannot say so
    values = (getattr(op, f.name) for f in fields(op))
    structure = tuple(v for v in values if not isinstance(v, float))
    if node.output.name.endswith(PART):  # each member takes a part of its own
        structure = ()
    inputs = tuple((v.name, v.type) for v in node.inputs)
    return type(op), structure, inputs, node.output.name, node.output.type


def _interface(graph: Graph) -> str:
    outputs = ", ".join(f"{v.name} {v.type}" for v in graph.outputs)
    return f"{graph.input.type} -> {outputs}"
