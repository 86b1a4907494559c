"""Values that a module may hold: what tells one from another, and how they are put back."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import FunctionType, GeneratorType

import numpy as np
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.nn.parameter import is_lazy

from qbnnc.frontend.module.iterators import is_iterator, position

_LIBRARIES = frozenset("torch numpy builtins collections itertools functools typing abc".split())
_PLAIN = (int, float, complex, str, bytes, bool, type(None))
_GENERATORS = (torch.Generator, random.Random, np.random.Generator, np.random.RandomState)
_WATCHED = (
    *(int, float, bool, list, dict, deque, set, Tensor, np.ndarray, GeneratorType),
    *_GENERATORS,
)


def token(value: object) -> object:
    """A token that is equal for equal plain values, and for other values if they are identical."""
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, GeneratorType):
        frame = value.gi_frame
        variables = () if frame is None else tuple(map(id, frame.f_locals.values()))
        return Running(-1 if frame is None else frame.f_lasti, variables)
    return position(value) if is_iterator(value) else _Same(value)


@dataclass(frozen=True, slots=True)
class Running:
    """The position of a Python generator; nothing can put it back there."""

    instruction: int
    variables: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Same:
    """An object by its identity; it is kept alive so that no other can get its id."""

    value: object

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


def same_value(a: object, b: object) -> bool:
    """Whether two remembered values are equal; NaN equals NaN."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return same_tensor(a, b)
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")
    return type(a) is type(b) and bool(a == b or (a != a and b != b))


def is_watched(key: str, value: object) -> bool:
    """Whether a variable or class attribute could hold state that forward changes."""
    return not key.startswith("__") and (isinstance(value, _WATCHED) or is_iterator(value))


def is_of_library(value: type | FunctionType) -> bool:
    """Whether a class or function belongs to torch, numpy or Python, and not to the user."""
    return str(value.__module__).split(".")[0] in _LIBRARIES


def generator_state(value: object) -> tuple[object, Callable[[], None]] | None:
    """The state of a random generator, and a function that restores it; None for other values."""
    match value:
        case torch.Generator():
            bits = value.get_state()
            return bits, lambda: _set_torch(value, bits)
        case random.Random():
            state = value.getstate()
            return state, lambda: value.setstate(state)
        case np.random.Generator():
            inner = value.bit_generator.state
            return repr(inner), lambda: _set_numpy(value, inner)
        case np.random.RandomState():
            legacy = value.get_state()
            return repr(legacy), lambda: value.set_state(legacy)
        case _:
            return None


def _set_torch(generator: torch.Generator, state: Tensor) -> None:
    generator.set_state(state)


def _set_numpy(generator: np.random.Generator, state: Mapping[str, object]) -> None:
    generator.bit_generator.state = state


def can_be_kept(value: Tensor) -> bool:
    """Whether a tensor has a number of its own for each element that can be copied and put back."""
    unusual = value.is_quantized or value.layout != torch.strided or value.is_meta
    if unusual or isinstance(value, FakeTensor) or is_lazy(value):
        return False
    strides = zip(value.shape, value.stride(), strict=True)
    return not any(extent > 1 and stride == 0 for extent, stride in strides)


def same_tensor(a: Tensor, b: Tensor) -> bool:
    """Equal in shape, element type and value; NaN is NaN."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if a.is_floating_point() or a.is_complex():
        return bool(torch.equal(a.isnan(), b.isnan()) and torch.equal(_numbers(a), _numbers(b)))
    return torch.equal(a, b)


def _numbers(value: Tensor) -> Tensor:
    return torch.where(value.isnan(), torch.zeros_like(value), value)
