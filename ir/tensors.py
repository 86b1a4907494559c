"""The safetensors container: https://github.com/huggingface/safetensors#format

Eight bytes that give the length of a JSON header, the header, and the elements of all tensors.
Tensors are views of the file's bytes: nothing is copied.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.codec import DecodeError, Json
from qbnnc.ir.strict_json import parse
from qbnnc.ir.types import Array
from qbnnc.support import limits

_METADATA = "__metadata__"
_PREFIX = 8  # bytes that give the length of the header
_DTYPES: dict[str, np.dtype[np.generic]] = {
    "F32": np.dtype("<f4"),
    "U8": np.dtype("u1"),
    "I8": np.dtype("i1"),
    "I32": np.dtype("<i4"),
}


@dataclass(frozen=True, slots=True)
class Container:
    """The metadata, and each tensor as a view of the file."""

    metadata: dict[str, str]
    tensors: dict[str, Array]


def header_of(data: bytes) -> memoryview | None:
    """The bytes of the JSON header; None if these are not the first bytes of a whole one."""
    length = int.from_bytes(data[:_PREFIX], "little")
    if data[_PREFIX : _PREFIX + 1] != b"{" or length > min(len(data), limits.HEADER.most):
        return None
    return memoryview(data)[_PREFIX : _PREFIX + length]


def read(data: bytes) -> Container:
    """The contents of a file; DecodeError unless the tensors fill it without gaps."""
    header = header_of(data)
    if header is None or len(data) < _PREFIX + len(header):
        raise DecodeError("the header is no header of tensors")
    entries = parse(bytes(header))
    if not isinstance(entries, dict):
        raise DecodeError("the header is no object")
    metadata = _texts(entries.pop(_METADATA, {}))
    room = np.frombuffer(data, np.uint8, offset=_PREFIX + len(header))
    places = {name: _Place.of(name, entry) for name, entry in entries.items()}
    end = 0
    for name, place in sorted(places.items(), key=lambda item: (item[1].start, item[1].stop)):
        if place.start != end or place.stop > room.size:
            raise DecodeError(f"the tensor {name!r} is not where the one before it ends")
        end = place.stop
    if end != room.size:
        raise DecodeError(f"{room.size - end} bytes belong to no tensor")
    return Container(metadata, {name: place.view(room) for name, place in places.items()})


@dataclass(frozen=True, slots=True)
class _Place:
    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]
    start: int
    stop: int

    @staticmethod
    def of(name: str, entry: Json) -> _Place:
        """The place of a tensor, by its entry in the header; DecodeError if that is no entry."""
        if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
            raise DecodeError(f"the tensor {name!r} has a dtype, a shape and offsets")
        dtype, shape = entry["dtype"], _whole_numbers(name, entry["shape"])
        offsets = _whole_numbers(name, entry["data_offsets"])
        if not isinstance(dtype, str) or dtype not in _DTYPES:
            raise DecodeError(f"the tensor {name!r} is {dtype!r}, which no graph has")
        if len(shape) > limits.AXES.most + 1 or len(offsets) != 2:
            raise DecodeError(f"the tensor {name!r} has {len(shape)} axes, {len(offsets)} offsets")
        if prod(shape) * _DTYPES[dtype].itemsize != offsets[1] - offsets[0]:
            raise DecodeError(f"the tensor {name!r} has other bytes than its shape")
        return _Place(_DTYPES[dtype], shape, *offsets)

    def view(self, room: NDArray[np.uint8]) -> Array:
        """The tensor in the bytes of all."""
        return room[self.start : self.stop].view(self.dtype).reshape(self.shape)


def _whole_numbers(name: str, value: Json) -> tuple[int, ...]:
    if not isinstance(value, list):
        raise DecodeError(f"the tensor {name!r} has a list of whole numbers")
    numbers = tuple(item for item in value if type(item) is int and item >= 0)
    if len(numbers) != len(value):
        raise DecodeError(f"the tensor {name!r} has a list of whole numbers")
    return numbers


def _texts(value: Json) -> dict[str, str]:
    if not isinstance(value, dict):
        raise DecodeError("the metadata is no object")
    texts = {key: text for key, text in value.items() if isinstance(text, str)}
    if len(texts) != len(value):
        raise DecodeError("the metadata is text")
    return texts
