"""Zip archives that say one thing and hold another."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Sequence
from random import Random

from tests.fuzz.trees import flipped

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
_CENTRAL, _CENTRAL_SIZE = b"PK\x01\x02", 46
_FIELDS = {8: "<H", 10: "<H", 16: "<I", 20: "<I", 24: "<I", 28: "<H", 30: "<H", 42: "<I"}
_NUMBERS = (0, 1, 2, 8, 12, 14, 99, 255, 65535, 2**31 - 1, 2**32 - 1)

Members = Sequence[tuple[str, bytes]]


def members_of(data: bytes) -> list[tuple[str, bytes]]:
    """Names and contents, in order."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return [(name, archive.read(name)) for name in archive.namelist()]


def written(members: Members, method: int = zipfile.ZIP_STORED) -> bytes:
    """An archive of these members, also of two with one name."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in members:
            archive.writestr(_unnamed(name), data, compress_type=method)
    return buffer.getvalue()


def _unnamed(name: str) -> zipfile.ZipInfo:
    return zipfile.ZipInfo(name)  # zipfile warns of a second one of a name unless it is an entry


def mutated(rng: Random, members: Members) -> bytes:
    """Members left out, doubled, renamed, or packed another way; or a directory that lies."""
    made = list(members)
    kind, place = rng.randrange(8), rng.randrange(len(made))
    name, data = made[place]
    if kind == 0:
        del made[place]
    elif kind == 1:
        made.append((name, rng.choice(made)[1]))
    elif kind == 2:
        names = (name + "x", "../" + name, "/" + name, "", name.upper(), "a/" + name, "é" * 300)
        made[place] = (rng.choice(names), data)
    elif kind == 3:
        made[place] = (name, flipped(rng, data))
    elif kind == 4:
        made[place] = (name, bytes(rng.choice((0, 1, 1 << 20, 1 << 22))))
    elif kind == 5:
        made[place] = (name, rng.choice(made)[1])
    whole = written(made, rng.choice(_METHODS) if rng.random() < 0.5 else zipfile.ZIP_STORED)
    return lying(rng, whole) if kind == 6 else flipped(rng, whole) if kind == 7 else whole


def lying(rng: Random, archive: bytes) -> bytes:
    """A number in the central directory that is not true: a size, a method, a flag, a place."""
    entries = [i for i in range(len(archive)) if archive.startswith(_CENTRAL, i)]
    if not entries:
        return archive
    offset, form = rng.choice(list(_FIELDS.items()))
    at = rng.choice(entries) + offset
    number = rng.choice(_NUMBERS) % (1 << 8 * struct.calcsize(form))
    made = bytearray(archive)
    if at + struct.calcsize(form) <= len(made):
        struct.pack_into(form, made, at, number)
    return bytes(made)
