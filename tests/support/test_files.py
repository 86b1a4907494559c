"""Files are replaced whole, all or none, as they were owned; and only files are read."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from qbnnc.support import files, staging
from qbnnc.support.errors import FileError
from qbnnc.support.files import (
    check_apart,
    check_output,
    open_regular,
    read_bytes,
    write_all,
    write_atomically,
)

STALE = ".qbnnc-0123456789abcdef.tmp"
Place = Callable[[Path], object]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path.relative_to(Path.cwd())))


SPECIAL: list[tuple[str, Place]] = [
    ("a FIFO", os.mkfifo),
    ("a socket", _socket),
    ("a device", lambda path: path.symlink_to("/dev/zero")),
    ("a folder", Path.mkdir),
]


@pytest.mark.parametrize(("kind", "make"), SPECIAL)
def test_what_is_no_file_is_neither_read_nor_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, make: Place
) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket is short
    make(tmp_path / "x")
    before = (tmp_path / "x").lstat()
    for refused in (read_bytes, open_regular, check_output):
        with pytest.raises(FileError, match=f"x: cannot be .*{kind}"):
            refused(tmp_path / "x")
    with pytest.raises(FileError, match=kind):
        write_atomically(tmp_path / "x", b"new")
    assert names(tmp_path) == ["x"]
    assert (tmp_path / "x").lstat().st_mode == before.st_mode


def test_a_file_without_end_is_not_read(tmp_path: Path) -> None:
    with open(tmp_path / "sparse", "wb") as file:
        file.truncate(10**13)
    with pytest.raises(FileError, match="sparse: is larger than 17179869184 bytes"):
        read_bytes(tmp_path / "sparse")


def test_a_path_that_no_file_can_have(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for path in ("nul\0", tmp_path / "loop", tmp_path / ("n" * 300), tmp_path / "missing"):
        with pytest.raises(FileError, match="cannot be read"):
            read_bytes(path)
    for path in (tmp_path / "loop", tmp_path / "no" / "folder"):
        with pytest.raises(FileError, match="cannot be written"):
            write_atomically(path, b"x")


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444, 0o777])
def test_a_replaced_file_keeps_its_permissions(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    path.chmod(mode)
    write_atomically(path, b"new")
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert path.read_bytes() == b"new"


def test_a_new_file_has_the_permissions_that_the_user_gives_to_files(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "a", b"new")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_what_a_link_leads_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there/file")
    for content in (b"first", b"second"):
        write_atomically(tmp_path / "link", content)
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "there" / "file").read_bytes() == content
    assert names(tmp_path / "there") == ["file"]


def test_a_long_name_leaves_room_for_the_temporary_one(tmp_path: Path) -> None:
    write_atomically(tmp_path / ("n" * 255), b"x")
    assert names(tmp_path) == ["n" * 255]


@pytest.mark.parametrize("failing", [0, 1, 2])
@pytest.mark.parametrize("links", [True, False])
def test_a_rename_that_fails_undoes_those_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int, *, links: bool
) -> None:
    paths = [tmp_path / name for name in "abc"]
    for path in (paths[0], paths[2]):
        path.write_bytes(b"old")
        path.chmod(0o640)
    rename, calls = os.replace, [0]

    def replace(source: Path, target: Path) -> None:
        calls[0] += 1
        if calls[0] == failing + 1:
            raise PermissionError(13, "Permission denied")
        rename(source, target)

    def link(source: Path, target: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "replace", replace)
    if not links:
        monkeypatch.setattr(os, "link", link)
    with pytest.raises(FileError, match=f"{paths[failing].name}: cannot be written"):
        write_all([(path, b"new") for path in paths])
    assert names(tmp_path) == ["a", "c"]
    for path in (paths[0], paths[2]):
        assert path.read_bytes() == b"old"
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
    monkeypatch.undo()
    write_all([(path, b"new") for path in paths])
    assert names(tmp_path) == ["a", "b", "c"]
    assert {path.read_bytes() for path in paths} == {b"new"}


def test_content_is_on_the_disk_before_it_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = list[str]()
    for name in ("fsync", "replace"):
        whole = getattr(os, name)

        def told(*given: object, name: str = name, whole: Callable[..., None] = whole) -> None:
            order.append(name)
            whole(*given)

        monkeypatch.setattr(os, name, told)
    write_all([(tmp_path / "a", b"1"), (tmp_path / "b", b"2")])
    assert order == ["fsync", "fsync", "replace", "replace", "fsync"]


def test_the_file_of_a_killed_process_is_removed_by_the_next(tmp_path: Path) -> None:
    (tmp_path / STALE).write_bytes(b"half")
    (tmp_path / "mine.tmp").write_bytes(b"kept")
    (tmp_path / ".qbnnc-folder.tmp").mkdir()
    write_atomically(tmp_path / "a", b"new")
    assert names(tmp_path) == [".qbnnc-folder.tmp", "a", "mine.tmp"]


def test_the_file_that_another_process_is_writing_stays(tmp_path: Path) -> None:
    with staging.staged(tmp_path / "a", tmp_path / "a", b"slow", lambda: None) as made:
        write_atomically(tmp_path / "b", b"fast")
        assert made.temporary.read_bytes() == b"slow"
        staging.commit([made], ExitStack())
    assert names(tmp_path) == ["a", "b"]


@pytest.mark.parametrize("spelling", ["a", "./a", "folder/../a", "soft", "hard", "absolute"])
def test_an_output_that_is_an_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spelling: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a").write_bytes(b"trained")
    Path("folder").mkdir()
    Path("soft").symlink_to("a")
    os.link("a", "hard")
    output = tmp_path / "a" if spelling == "absolute" else spelling
    with pytest.raises(FileError, match="is an input as well"):
        check_apart([output], ["b", "a"])
    check_apart(["b", "folder/a"], ["a", "folder/b"])


def test_the_limit_is_that_of_the_file_and_not_of_what_it_grows_to(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"12345")
    assert files.read_bytes(path, most=5) == b"12345"
    with pytest.raises(FileError, match="larger than 4 bytes"):
        files.read_bytes(path, most=4)
