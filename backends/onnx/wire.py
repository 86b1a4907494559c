"""Protobuf's wire format: the fields of a message, read without protobuf.

Running a file so needs neither onnx nor protobuf. https://protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

from typing import TypeAlias

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_WIDTHS = {FIXED64: 8, FIXED32: 4}
_PLAIN = (VARINT, BYTES)
_MOST_VARINT = 10  # bytes of 7 bits, for 64 bits


Field: TypeAlias = tuple[int, bool, int, int, int]
"""A field of a message: number, whole, value, start, end. Its bytes are [start, end) of the file.

`value` is a whole number below 2^64, or the place where a text, an array or a message begins, which
ends with the field; `whole` tells which. A file has thousands, and named ones take twice the time.
"""


class Message:
    """A message, bytes [start, end) of a file; those in it are read when they are asked for.

    Every method raises ValueError for bytes that are no message, or a field of another kind. A
    field that is missing is 0, or empty, as in protobuf. If one that cannot repeat is there
    several times, the last one counts.
    """

    __slots__ = ("_fields", "end", "file", "start")

    def __init__(self, file: bytes, start: int = 0, end: int | None = None) -> None:
        self.file, self.start, self.end = file, start, len(file) if end is None else end
        self._fields: dict[int, list[Field]] | None = None

    @property
    def data(self) -> memoryview:
        return memoryview(self.file)[self.start : self.end]

    @property
    def fields(self) -> dict[int, list[Field]]:
        """The fields by number, each in the order of the file."""
        if self._fields is None:
            self._fields = read_fields(self.file, self.start, self.end)
        return self._fields

    def spans(self, number: int) -> list[tuple[int, int]]:
        """The first and last byte + 1 of what each field with this number holds."""
        spans = list[tuple[int, int]]()
        for _, whole, value, _, end in self.fields.get(number, ()):
            if whole:
                raise ValueError(f"field {number} is a number")
            spans.append((value, end))
        return spans

    def blobs(self, number: int) -> list[memoryview]:
        """The bytes of each field with this number."""
        whole = memoryview(self.file)
        return [whole[start:end] for start, end in self.spans(number)]

    def text(self, number: int) -> str:
        spans = self.spans(number)
        return str(self.file[slice(*spans[-1])], "utf-8") if spans else ""

    def messages(self, number: int) -> list[Message]:
        return [Message(self.file, start, end) for start, end in self.spans(number)]

    def message(self, number: int) -> Message:
        return (self.messages(number) or [Message(b"")])[-1]

    def integers(self, number: int) -> list[int]:
        """Signed whole numbers, each in a field of its own or all in one."""
        found = list[int]()
        for field in self.fields.get(number, ()):
            _, whole, value, _, end = field
            if whole:
                found.append(_signed(value))
            else:
                found += _packed(self.file, value, end)
        return found

    def integer(self, number: int) -> int:
        return (self.integers(number) or [0])[-1]


def read_fields(data: bytes, at: int, end: int) -> dict[int, list[Field]]:
    """The fields of the message in bytes [at, end) by number; ValueError for bytes that are none.

    A file has thousands: the usual numbers below 128 are read without a call.
    """
    found: dict[int, list[Field]] = {}
    try:
        while at < end:
            start = at
            tag = data[at]
            at += 1
            if tag > 127:
                tag, at = _varint(data, start, end)
            kind, number = tag & 7, tag >> 3
            if kind in _PLAIN:
                value = data[at]
                at += 1
                if value > 127:
                    value, at = _varint(data, at - 1, end)
                if kind == BYTES:
                    value, at = at, at + value
            elif kind in _WIDTHS:
                value, at = at, at + _WIDTHS[kind]
                value = int.from_bytes(data[value:at], "little")
            else:
                raise ValueError(f"a field is of the unknown kind {kind}")
            if number in found:
                found[number].append((number, kind != BYTES, value, start, at))
            else:
                found[number] = [(number, kind != BYTES, value, start, at)]
    except IndexError:
        raise ValueError("a number is cut off") from None
    if at > end:
        raise ValueError("a field is cut off")
    if 0 in found:
        raise ValueError("a field has the number 0")
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
