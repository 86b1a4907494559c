"""Long texts in the header of a file, as base64 of bzip2: steps of a loop repeat each other."""

from __future__ import annotations

import base64
import binascii
import bz2

from qbnnc.ir.codec import DecodeError
from qbnnc.support import limits

_MARK = "bz2:"
_LEAST = 2**14  # of a text that is packed
_MOST_TIMES, _ALWAYS = 256, 2**20  # a text has at most so many bytes, times those it is packed in


def pack(text: str) -> str:
    """The text, packed if it is long and that makes it shorter; the same on every machine."""
    plain = text.encode()
    if len(plain) < _LEAST:
        return text
    data = bz2.compress(plain)
    packed = _MARK + base64.b64encode(data).decode("ascii")
    return packed if len(packed) < len(text) and len(plain) <= _most(data) else text


def unpack(text: str) -> bytes:
    """The text that was given to `pack`, in UTF-8; DecodeError for what it never makes."""
    if not text.startswith(_MARK):
        return text.encode()
    try:
        data = base64.b64decode(text[len(_MARK) :].encode("ascii"), validate=True)
        reader = bz2.BZ2Decompressor()
        unpacked = reader.decompress(data, _most(data))
    except (binascii.Error, OSError, ValueError, EOFError):
        raise DecodeError("its packed text is damaged") from None
    if not reader.eof or reader.unused_data:
        raise DecodeError("its packed text is damaged, or too long")
    return unpacked


def _most(data: bytes) -> int:
    """The most bytes that packed ones may stand for, so that small files stay small."""
    return min(_ALWAYS + _MOST_TIMES * len(data), limits.HEADER.most)
