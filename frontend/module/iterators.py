"""Iterators that a module keeps: copied at their position, so that they can be put back."""

from __future__ import annotations

import io
import itertools
import pickle
import warnings

_ITERATORS: tuple[type, ...] = (
    *(itertools.count, itertools.cycle, itertools.repeat, itertools.chain, itertools.islice),
    *(enumerate, zip, map, filter, reversed),
    *map(type, (iter([]), iter(()), iter(range(0)), iter(""), iter({}), iter(set()))),
)
_COPIED: tuple[type, ...] = (list, tuple, int, str, range, type(None), *_ITERATORS)


def is_iterator(value: object) -> bool:
    """Whether a value is an iterator of a kind that can be copied."""
    return isinstance(value, _ITERATORS)


def fresh(value: object) -> object:
    """A copy of an iterator, which gives the same objects from its position on.

    Any other value is returned as it is, and so is an iterator that cannot be copied.
    """
    if not is_iterator(value):
        return value
    written = _written(value)
    if written is None:
        return value
    data, objects = written
    return _Reader(io.BytesIO(data), objects).load()


def position(value: object) -> object:
    """The position of an iterator; it is equal for two that will give the same objects."""
    written = _written(value)
    return written and (written[0], tuple(map(id, written[1])))


def _written(value: object) -> tuple[bytes, list[object]] | None:
    """Pickle an iterator: its bytes, and the objects that it refers to; None if that fails."""
    objects, buffer = list[object](), io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 will not copy them
        try:
            _Writer(buffer, objects).dump(value)
        except (TypeError, pickle.PicklingError, AttributeError):
            return None
    return buffer.getvalue(), objects


class _Writer(pickle.Pickler):
    """Pickles iterators and their lists; every other object goes by reference."""

    def __init__(self, buffer: io.BytesIO, objects: list[object]) -> None:
        super().__init__(buffer)
        self._objects = objects

    def persistent_id(self, value: object) -> int | None:
        if isinstance(value, _COPIED) or value is iter or value is getattr:
            return None
        if isinstance(value, type) and issubclass(value, _ITERATORS):
            return None
        self._objects.append(value)
        return len(self._objects) - 1


class _Reader(pickle.Unpickler):
    def __init__(self, buffer: io.BytesIO, objects: list[object]) -> None:
        super().__init__(buffer)
        self._objects = objects

    def persistent_load(self, number: int) -> object:
        return self._objects[number]
