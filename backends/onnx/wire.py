"""Protobuf's wire format: the fields of a message, read without protobuf.

Running a file so needs neither onnx nor protobuf. https://protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_WIDTHS = {FIXED64: 8, FIXED32: 4}
_MOST_VARINT = 10  # bytes of 7 bits, for 64 bits


class Field(NamedTuple):
    """A field of a message: its number, and its bytes [start, end) of the file.

    `value` is a whole number below 2^64, or the place where a text, an array or a message begins,
    which ends with the field; `whole` tells which.
    """

    number: int
    whole: bool
    value: int
    start: int
    end: int


class Message:
    """A message, bytes [start, end) of a file; those in it are read when they are asked for.

    Every method raises ValueError for bytes that are no message, or a field of another kind. A
    field that is missing is 0, or empty, as in protobuf. If one that cannot repeat is there
    several times, the last one counts.
    """

    def __init__(self, file: bytes, start: int = 0, end: int | None = None) -> None:
        self.file, self.start, self.end = file, start, len(file) if end is None else end

    @property
    def data(self) -> memoryview:
        return memoryview(self.file)[self.start : self.end]

    @cached_property
    def fields(self) -> dict[int, list[Field]]:
        """The fields by number, each in the order of the file."""
        found: dict[int, list[Field]] = {}
        for field in read_fields(self.file, self.start, self.end):
            if field.number in found:
                found[field.number].append(field)
            else:
                found[field.number] = [field]
        return found

    def blobs(self, number: int) -> list[memoryview]:
        """The bytes of each field with this number."""
        return [message.data for message in self.messages(number)]

    def blob(self, number: int) -> memoryview:
        return (self.blobs(number) or [memoryview(b"")])[-1]

    def text(self, number: int) -> str:
        return str(self.blob(number), "utf-8")

    def messages(self, number: int) -> list[Message]:
        fields = self.fields.get(number, ())
        if any(field.whole for field in fields):
            raise ValueError(f"field {number} is a number")
        return [Message(self.file, field.value, field.end) for field in fields]

    def message(self, number: int) -> Message:
        return (self.messages(number) or [Message(b"")])[-1]

    def integers(self, number: int) -> list[int]:
        """Signed whole numbers, each in a field of its own or all in one."""
        found = list[int]()
        for field in self.fields.get(number, ()):
            if field.whole:
                found.append(_signed(field.value))
            else:
                found += _packed(self.file, field.value, field.end)
        return found

    def integer(self, number: int) -> int:
        return (self.integers(number) or [0])[-1]


def read_fields(data: bytes, at: int, end: int) -> list[Field]:
    """The fields of the message in bytes [at, end), in order; ValueError for bytes that are none.

    A file has thousands: the usual numbers below 128 are read without a call.
    """
    found = list[Field]()
    while at < end:
        start = at
        tag, at = (data[at], at + 1) if data[at] < 128 else _varint(data, at, end)
        number, kind = tag >> 3, tag & 7
        if number == 0:
            raise ValueError("a field has the number 0")
        if kind == BYTES:
            short = at < end and data[at] < 128
            size, at = (data[at], at + 1) if short else _varint(data, at, end)
            value, at = at, at + size
        elif kind == VARINT:
            value, at = _varint(data, at, end)
        elif kind in _WIDTHS:
            value, at = int.from_bytes(data[at : at + _WIDTHS[kind]], "little"), at + _WIDTHS[kind]
        else:
            raise ValueError(f"a field is of the unknown kind {kind}")
        if at > end:
            raise ValueError("a field is cut off")
        found.append(Field(number, kind != BYTES, value, start, at))
    return found


def written(number: int, data: bytes | memoryview) -> bytes:
    """A field that holds bytes."""
    return _written_varint(number << 3 | BYTES) + _written_varint(len(data)) + bytes(data)


def _written_varint(number: int) -> bytes:
    parts = bytearray()
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    return bytes([*parts, number])


def _varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """A number, and the place behind it."""
    number = 0
    for place in range(at, min(at + _MOST_VARINT, end)):
        byte = data[place]
        number |= (byte & 127) << 7 * (place - at)
        if byte < 128:
            return number % 2**64, place + 1
    raise ValueError("a number is cut off, or too long")


def _packed(data: bytes, at: int, end: int) -> list[int]:
    found = list[int]()
    while at < end:
        number, at = _varint(data, at, end)
        found.append(_signed(number))
    return found


def _signed(number: int) -> int:
    return number - 2**64 if number >= 2**63 else number
