"""Parts that a file of version 2 stores once: equal tensors, and records that members share."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np

from qbnnc.ir.codec import DecodeError, Json, items
from qbnnc.ir.types import Array

Change: TypeAlias = Callable[[list[Json], list[Json]], Json]

AS_THE_FIRST: Json = 0  # stands in a member for a record that equals the first member's
_LISTS = ("constants", "nodes")


def content_keys(tensors: Mapping[str, Array]) -> dict[str, str]:
    """For each tensor the SHA-256 of its dtype, shape and bytes: equal for equal tensors alone."""
    keys = {number: _key(array) for number, array in {id(a): a for a in tensors.values()}.items()}
    return {name: keys[id(array)] for name, array in tensors.items()}


def _key(array: Array) -> str:
    hash = hashlib.sha256(f"{array.dtype.str}{list(array.shape)}".encode())
    hash.update(bytes_of(array))
    return hash.hexdigest()


def bytes_of(array: Array) -> memoryview:
    """The elements in row-major order; no copy of an array that lies so."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def equal_tensors(keys: Mapping[str, str]) -> dict[str, str]:
    """The names of tensors that are stored under the name of an earlier one, with that name."""
    first: dict[str, str] = {}
    owners = {name: first.setdefault(key, name) for name, key in keys.items()}
    return {name: owner for name, owner in owners.items() if name != owner}


def with_shared(stored: Mapping[str, Array], shared: Json) -> dict[str, Array]:
    """All tensors of a file; `shared` says which are stored under another's name."""
    if not isinstance(shared, dict):
        raise DecodeError("the shared tensors are an object")
    tensors = dict(stored)
    for name, owner in shared.items():
        if name in stored or not isinstance(owner, str) or owner not in stored:
            raise DecodeError(f"the tensor {name[:80]!r} is not stored under another name")
        tensors[name] = stored[owner]
    return tensors


def fold_members(members: list[Json]) -> list[Json]:
    """The records of graphs, without what later ones have at the same place as the first."""
    return [members[0], *(_each_list(_fold, members[0], member) for member in members[1:])]


def unfold_members(members: list[Json]) -> list[Json]:
    """The inverse of `fold_members`."""
    return [*members[:1], *(_each_list(_unfold, members[0], member) for member in members[1:])]


def _each_list(change: Change, first: Json, member: Json) -> Json:
    if not isinstance(first, dict) or not isinstance(member, dict):
        raise DecodeError("a graph is an object")
    changed = {
        name: change(items(first.get(name), name), items(member.get(name), name)) for name in _LISTS
    }
    return {**member, **changed}


def _fold(first: list[Json], own: list[Json]) -> Json:
    return [AS_THE_FIRST if first[i : i + 1] == [a] else a for i, a in enumerate(own)]


def _unfold(first: list[Json], own: list[Json]) -> Json:
    if AS_THE_FIRST in own[len(first) :]:
        raise DecodeError("the first member has no such record")
    return [first[i] if a == AS_THE_FIRST else a for i, a in enumerate(own)]
