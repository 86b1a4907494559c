"""Snapshots of a module: all state that its forward could change, remembered and put back.

The state is attributes, buffers and parameters, containers within containers, iterators and random
generators. Attributes of the user's classes belong to it, and so do the variables outside that its
functions refer to.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import CellType, FunctionType, MethodType
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from qbnnc.frontend.module.iterators import fresh
from qbnnc.frontend.module.state_values import (
    Running,
    can_be_kept,
    generator_state,
    is_of_library,
    is_watched,
    same_value,
    token,
)

_MOST_VALUES = 50_000  # a module may refer to its trainer, and that to a data set
_DEPTH = 12
_TABLES = frozenset("_parameters _buffers _modules".split())


@dataclass(slots=True)
class SavedValue:
    """One remembered value: how to put it back, and how to assign another (numbers only)."""

    value: object
    put_back: Callable[[], None]
    assign: Callable[[int], None] | None = None


@dataclass(slots=True)
class Snapshot:
    """The state of a module at one moment; `places` are by name ("layer.i", "Net.calls")."""

    places: dict[str, SavedValue] = field(default_factory=dict)
    _seen: dict[int, object] = field(default_factory=dict, repr=False)  # kept alive: ids stay

    @staticmethod
    def of(module: nn.Module, *, weights: bool = True) -> Snapshot:
        """Take a snapshot; `weights=False` leaves the parameters and buffers out."""
        found = Snapshot()
        if not weights:
            held = [*module.parameters(), *module.buffers()]
            found._seen.update((id(tensor), tensor) for tensor in held)
        found._visit("", module, 0)
        return found

    def restore(self, names: Collection[str] | None = None) -> None:
        """Put back everything, or the named places and all that is in them."""
        with torch.no_grad():
            for name, place in self.places.items():
                if names is None or any(_within(name, chosen) for chosen in names):
                    place.put_back()

    def lost(self, later: Snapshot) -> list[str]:
        """The Python generators that have run on, which cannot be put back."""
        changed = self.changed(later)
        return [
            n for n in changed if n in self.places and isinstance(self.places[n].value, Running)
        ]

    def changed(self, later: Snapshot) -> list[str]:
        """The names of the outermost places with another value in `later`."""
        names = list[str]()
        for name in dict.fromkeys([*self.places, *later.places]):
            before, after = self.places.get(name), later.places.get(name)
            same = before and after and same_value(before.value, after.value)
            if not same and not any(_within(name, known) for known in names):
                names.append(name)
        return names

    def _visit(self, name: str, value: object, depth: int) -> None:
        if id(value) in self._seen or len(self.places) > _MOST_VALUES or depth > _DEPTH:
            return
        self._seen[id(value)] = value
        match value:
            case Tensor():
                self._tensor(name, value)
            case nn.Module():
                self._mapping(name, value.__dict__, depth)
                self._class(type(value), depth)
            case dict():
                self._mapping(name, value, depth)
            case list() | deque():
                self._sequence(name, value, depth)
            case set():
                self._set(name, value)
            case tuple():
                for i, item in enumerate(value):
                    self._visit(f"{name}[{i}]", item, depth + 1)
            case np.ndarray():
                self._array(name, value)
            case FunctionType() | MethodType():
                self._function(value, depth)
            case type():
                pass
            case _ if (state := generator_state(value)) is not None:
                self.places[f"{name}{_STATE}"] = SavedValue(*state)
            case _ if not is_of_library(type(value)) and hasattr(value, "__dict__"):
                self._mapping(name, value.__dict__, depth + 2)

    def _mapping(self, name: str, table: MutableMapping[str, object], depth: int) -> None:
        saved = {key: fresh(value) for key, value in table.items()}
        self.places[f"{name}{_KEYS}"] = SavedValue(tuple(saved), lambda: _only_keys(table, saved))
        for key, value in list(table.items()):
            self._entry(_joined(name, str(key)), table, key, saved[key])
            self._visit(_joined(name, str(key)), value, depth + 1)

    def _entry(
        self, name: str, table: MutableMapping[str, object], key: str, saved: object
    ) -> None:
        def put_back() -> None:
            table[key] = fresh(saved)

        def assign(number: int) -> None:
            table[key] = number

        numeric = isinstance(saved, int) and not isinstance(saved, bool)
        if key not in _TABLES:
            self.places[f"{name}"] = SavedValue(token(saved), put_back, assign if numeric else None)

    def _sequence(self, name: str, value: list[object] | deque[object], depth: int) -> None:
        saved = [fresh(item) for item in value]

        def put_back() -> None:
            value.clear()
            value.extend(map(fresh, saved))

        tokens = tuple(token(item) for item in saved)
        self.places[f"{name}{_ITEMS}"] = SavedValue(tokens, put_back)
        for i, item in enumerate(saved):
            self._visit(f"{name}[{i}]", item, depth + 1)

    def _set(self, name: str, value: set[object]) -> None:
        saved = set(value)

        def put_back() -> None:
            value.clear()
            value.update(saved)

        self.places[f"{name}{_ITEMS}"] = SavedValue(frozenset(map(token, saved)), put_back)

    def _tensor(self, name: str, value: Tensor) -> None:
        if not can_be_kept(value):
            return
        memory, saved = value.detach(), value.detach().clone()

        def put_back() -> None:
            if value.data_ptr() != memory.data_ptr() or value.shape != memory.shape:
                value.data = memory
            if not torch.equal(memory, saved):
                memory.copy_(saved)

        def assign(number: int) -> None:
            memory.fill_(number)

        counts = saved.numel() == 1 and not saved.is_floating_point() and saved.dtype != torch.bool
        self.places[f"{name}{_DATA}"] = SavedValue(saved, put_back, assign if counts else None)

    def _array(self, name: str, value: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> None:
        if value.flags.writeable and value.dtype != object:
            saved = value.copy()
            self.places[f"{name}{_DATA}"] = SavedValue(
                saved, lambda: np.copyto(value, saved, casting="no")
            )

    def _class(self, kind: type, depth: int) -> None:
        """Visit attributes of the user's own classes, and the variables of their methods."""
        for each in kind.__mro__:
            if is_of_library(each) or id(each) in self._seen:
                continue
            self._seen[id(each)] = each
            for key, value in list(vars(each).items()):
                if isinstance(value, FunctionType):
                    self._function(value, depth)
                elif is_watched(key, value):
                    self._attribute(f"{each.__name__}.{key}", each, key, depth)

    def _attribute(self, name: str, kind: type, key: str, depth: int) -> None:
        saved = fresh(vars(kind)[key])
        self.places[name] = SavedValue(token(saved), lambda: setattr(kind, key, fresh(saved)))
        self._visit(name, vars(kind)[key], depth + 1)

    def _function(self, function: FunctionType | MethodType, depth: int) -> None:
        """Visit the variables of a function's closure and of its file that could hold state."""
        if isinstance(function, MethodType):
            self._visit(function.__func__.__name__, function.__self__, depth + 1)
            function = cast(FunctionType, function.__func__)
        if is_of_library(function):
            return
        cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=False)
        for key, cell in cells:
            self._cell(f"{key} (outside {function.__qualname__})", cell, depth)
        for key in function.__code__.co_names:
            value = function.__globals__.get(key)
            if is_watched(key, value):
                name = f"{key} (a variable of {function.__module__})"
                self._entry(name, function.__globals__, key, fresh(value))
                self._visit(name, value, depth + 1)

    def _cell(self, name: str, cell: CellType, depth: int) -> None:
        try:
            saved = fresh(cell.cell_contents)
        except ValueError:  # not assigned yet
            return

        def put_back() -> None:
            cell.cell_contents = fresh(saved)

        self.places[name] = SavedValue(token(saved), put_back)
        self._visit(name, cell.cell_contents, depth + 1)


_KEYS, _ITEMS, _DATA, _STATE = "\0keys", "\0items", "\0data", "\0state"


def is_generator(name: str) -> bool:
    """Whether the place holds where a random generator stands."""
    return name.endswith(_STATE)


def plain(name: str) -> str:
    """A place's name as the user knows it."""
    return name.split("\0")[0] or "the attributes of the network"


@contextmanager
def untouched(module: nn.Module) -> Iterator[None]:
    """Put back the module's state afterwards.

    deepcopy cannot do this: several Bayesian libraries keep non-leaf samples on `self`, which
    deepcopy rejects.
    """
    saved = Snapshot.of(module)
    try:
        yield
    finally:
        saved.restore()


def _joined(name: str, key: str) -> str:
    """The path of a key, without the names of torch's tables."""
    return name if key in _TABLES else f"{name}.{key}".removeprefix(".")


def _within(name: str, outer: str) -> bool:
    outer = outer.split("\0")[0]
    return plain(name) == outer or (bool(outer) and name.startswith((f"{outer}.", f"{outer}[")))


def _only_keys(table: MutableMapping[str, object], saved: Mapping[str, object]) -> None:
    """Restore the keys of a table, in their order: it is the order of a module's children."""
    for key in [key for key in table if key not in saved]:
        del table[key]
    if list(table) != list(saved):
        kept = {key: table.get(key, value) for key, value in saved.items()}
        table.clear()
        table.update(kept)


def outermost(names: Iterable[str]) -> list[str]:
    """The names as the user knows them, each once."""
    return list(dict.fromkeys(map(plain, names)))
