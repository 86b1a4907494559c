"""Payloads are read as they were written, or count as missing."""

from __future__ import annotations

import os
import resource
import threading
from pathlib import Path

import pytest

from qbnnc.runtime.cache_store import Store

PAYLOAD = bytes(range(40))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with PAYLOAD as "a"."""
    made = Store(tmp_path, "key")
    assert made.write("a", PAYLOAD)
    return made


def test_what_was_written(store: Store, tmp_path: Path) -> None:
    assert store.read("a") == PAYLOAD
    assert Store(tmp_path, "key").read("a") == PAYLOAD
    assert store.read("b") is None
    assert store.write("a", b"")
    assert store.read("a") == b""
    assert [file.name for file in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600


def test_each_flipped_bit(store: Store, tmp_path: Path) -> None:
    content = (tmp_path / "a").read_bytes()
    for place in range(8 * len(content)):
        flipped = bytearray(content)
        flipped[place // 8] ^= 1 << place % 8
        (tmp_path / "a").write_bytes(flipped)
        assert store.read("a") is None, place
    assert len(content) > len(PAYLOAD)


def test_each_length(store: Store, tmp_path: Path) -> None:
    content = (tmp_path / "a").read_bytes()
    for length in range(len(content)):
        (tmp_path / "a").write_bytes(content[:length])
        assert store.read("a") is None, length
    (tmp_path / "a").write_bytes(content + b"\0")
    assert store.read("a") is None
    (tmp_path / "a").write_bytes(content)
    assert store.read("a") == PAYLOAD


def test_a_file_in_the_place_of_another(store: Store, tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes((tmp_path / "a").read_bytes())
    assert store.read("b") is None
    assert Store(tmp_path, "another key").read("a") is None


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_can_write_to(store: Store, tmp_path: Path, mode: int) -> None:
    (tmp_path / "a").chmod(mode)
    assert store.read("a") is None
    assert store.write("a", PAYLOAD)
    assert store.read("a") == PAYLOAD


def test_a_file_of_another_user(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    assert store.read("a") is None


def test_a_folder_in_its_place(store: Store, tmp_path: Path) -> None:
    (tmp_path / "a").unlink()
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert store.read("a") is None
    assert store.write("a", PAYLOAD)
    assert store.read("a") == PAYLOAD


def test_a_link_in_its_place(store: Store, tmp_path: Path) -> None:
    (tmp_path / "a").rename(tmp_path / "target")
    (tmp_path / "a").symlink_to(tmp_path / "target")
    assert store.read("a") is None
    before = (tmp_path / "target").read_bytes()
    assert store.write("a", b"new")
    assert store.read("a") == b"new"
    assert (tmp_path / "target").read_bytes() == before


def test_a_pipe_in_its_place(store: Store, tmp_path: Path) -> None:
    (tmp_path / "a").unlink()
    os.mkfifo(tmp_path / "a")
    assert store.read("a") is None
    assert store.write("a", PAYLOAD)
    assert store.read("a") == PAYLOAD


def test_no_folder() -> None:
    nothing = Store(None, "key", "why")
    assert not nothing.write("a", PAYLOAD)
    assert nothing.read("a") is None
    assert nothing.fault == "why"


def test_a_disk_that_is_full(store: Store, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        written = store.write("big", bytes(1000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not written
    assert str(tmp_path) in store.fault
    assert "too large" in store.fault
    assert [file.name for file in tmp_path.iterdir()] == ["a"]
    assert store.read("a") == PAYLOAD


def test_a_folder_that_is_gone(tmp_path: Path) -> None:
    gone = Store(tmp_path / "gone", "key")
    assert not gone.write("a", PAYLOAD)
    assert gone.read("a") is None
    assert "No such file" in gone.fault


def test_writers_and_readers_at_once(tmp_path: Path) -> None:
    payloads = {bytes([n]) * 100_000 for n in range(4)}
    store = Store(tmp_path, "key")
    store.write("a", next(iter(payloads)))
    stop, seen = threading.Event(), set[bytes | None]()

    def write(payload: bytes) -> None:
        while not stop.is_set():
            store.write("a", payload)

    threads = [threading.Thread(target=write, args=[payload]) for payload in payloads]
    for thread in threads:
        thread.start()
    for _ in range(300):
        seen.add(store.read("a"))
    stop.set()
    for thread in threads:
        thread.join()
    assert seen <= payloads
