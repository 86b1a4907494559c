"""Long texts in a file's header: packed, and read again or refused."""

from __future__ import annotations

import base64
import bz2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbnnc.ir import format
from qbnnc.ir.codec import DecodeError
from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from qbnnc.ir.packed_text import pack, unpack
from qbnnc.passes.pipeline import pipeline
from qbnnc.support.errors import FileError
from tests.recurrent_graphs import gated

LONG = '{"a":[' + ",".join(f'{{"step":{n}}}' for n in range(4000)) + "]}"


def recurrence() -> Model:
    """A model of version 4, which the sums of a recurrence need, with a long record."""
    return Model((pipeline().only("carry-states")(gated(40)),), Head(Task.RAW))


def packed(data: bytes) -> str:
    return "bz2:" + base64.b64encode(data).decode()


def test_a_long_text_is_packed_and_a_short_one_is_not() -> None:
    assert pack(LONG[:16383]) == LONG[:16383]
    made = pack(LONG)
    assert made.startswith("bz2:")
    assert len(made) < len(LONG) / 4
    assert bz2.decompress(base64.b64decode(made[4:])) == LONG.encode()
    assert unpack(made) == LONG.encode()


@given(st.text(max_size=40))
def test_texts_come_back(text: str) -> None:
    for each in (text, text * 1000 + "."):
        if not each.startswith("bz2:"):
            assert unpack(pack(each)) == each.encode()


def test_what_repeats_without_end_stays_as_it_is() -> None:
    """Or nobody could tell an honest file from one that is made to fill memory."""
    text = "0" * 50_000_000
    assert pack(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "bz2:",
        "bz2:%%%%",
        "bz2:AAAA",
        packed(bz2.compress(LONG.encode())[:-5]),
        packed(bz2.compress(LONG.encode()) + b"more"),
        packed(bz2.compress(b"0" * 50_000_000)),
        "bz2:\N{LATIN SMALL LETTER E WITH ACUTE}",
    ],
    ids=["nothing", "no base64", "no bzip2", "cut", "trailing", "a bomb", "no ascii"],
)
def test_what_nothing_packs_is_refused(text: str) -> None:
    with pytest.raises(DecodeError, match="its packed text is damaged"):
        unpack(text)


def test_files_of_long_recurrences_are_packed() -> None:
    model = recurrence()
    data = format.to_bytes(model)
    plain = format.to_bytes(model, packed=False)
    assert b'"bz2:' in data
    assert b'"bz2:' not in plain
    assert len(data) < len(plain) / 2
    again = format.from_bytes(data)
    assert format.digest(again) == format.digest(model)
    assert format.to_bytes(format.from_bytes(plain)) == format.to_bytes(again) == data


def test_a_damaged_file_is_refused() -> None:
    data = bytearray(format.to_bytes(recurrence()))
    at = data.find(b'"bz2:') + 100
    data[at] = ord("A") if data[at] != ord("A") else ord("B")
    with pytest.raises(FileError, match="not a qbnnc model"):
        format.from_bytes(bytes(data), "net.qbnn")
