"""Folders and files whose content may be executed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from qbnnc.runtime.cache_store import is_private_file, private_folder

pytestmark = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="owners and modes of POSIX")
root_only = pytest.mark.skipif(
    hasattr(os, "geteuid") and os.geteuid() != 0, reason="only root gives folders away"
)
ANOTHER = 54321  # a user


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder of this user in an ordinary place."""
    folder = tmp_path / "qbnnc"
    folder.mkdir(mode=0o755)
    return folder


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_each_level_that_is_made_is_private(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        made = private_folder(tmp_path / "a" / "b", "c")
    finally:
        os.umask(before)
    assert made == tmp_path / "a" / "b" / "c"
    for folder in (made, made.parent, made.parent.parent):
        assert folder.stat().st_mode & 0o777 == 0o700
    assert private_folder(tmp_path / "a" / "b", "c") == made


def test_folder_that_others_may_only_read(root: Path) -> None:
    assert private_folder(root, "kernels") == root / "kernels"
    assert root.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("mode", [0o775, 0o757, 0o1777, 0o720, 0o702])
@pytest.mark.parametrize("which", [".", "kernels"])
def test_others_can_write(root: Path, mode: int, which: str) -> None:
    folder = root / which
    folder.mkdir(exist_ok=True)
    folder.chmod(mode)
    with pytest.raises(PermissionError, match=r"can be written by other users.*chmod go-w"):
        private_folder(root, "kernels")


@pytest.mark.parametrize(("mode", "accepted"), [(0o777, False), (0o1777, True), (0o775, True)])
def test_parent_that_all_can_write_to(tmp_path: Path, mode: int, accepted: bool) -> None:
    """A folder that all can write to needs its sticky bit, or others could rename its content."""
    parent = tmp_path / "shared"
    parent.mkdir()
    parent.chmod(mode)
    if accepted:
        assert private_folder(parent / "qbnnc", "kernels").is_dir()
        return
    with pytest.raises(PermissionError, match=r"shared can be written by all users.*chmod \+t"):
        private_folder(parent / "qbnnc", "kernels")


def test_folder_of_another_user(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: ANOTHER)
    owner = root.stat().st_uid
    with pytest.raises(PermissionError, match=f"is a folder of user {owner}, not of {ANOTHER}"):
        private_folder(root, "kernels")


@root_only
@pytest.mark.parametrize("which", [".", "kernels"])
def test_folder_that_was_given_away(root: Path, which: str) -> None:
    (root / "kernels").mkdir()
    os.chown(root / which, ANOTHER, ANOTHER)
    with pytest.raises(PermissionError, match=f"is a folder of user {ANOTHER}, not of 0"):
        private_folder(root, "kernels")


@root_only
def test_link_of_another_user(root: Path) -> None:
    (root / "mine").mkdir(mode=0o700)
    (root / "kernels").symlink_to(root / "mine")
    assert private_folder(root, "kernels").is_dir()
    os.chown(root / "kernels", ANOTHER, ANOTHER, follow_symlinks=False)
    with pytest.raises(PermissionError, match=f"kernels is a link of user {ANOTHER}"):
        private_folder(root, "kernels")


@root_only
def test_link_to_a_folder_of_another_user(root: Path) -> None:
    (root / "theirs").mkdir(mode=0o700)
    os.chown(root / "theirs", ANOTHER, ANOTHER)
    (root / "kernels").symlink_to(root / "theirs")
    with pytest.raises(PermissionError, match=f"is a folder of user {ANOTHER}"):
        private_folder(root, "kernels")


@pytest.mark.parametrize("which", ["qbnnc", "qbnnc/kernels"])
def test_something_else_is_there(tmp_path: Path, which: str) -> None:
    (tmp_path / which).parent.mkdir(exist_ok=True)
    (tmp_path / which).write_text("a file")
    with pytest.raises(OSError, match=which):
        private_folder(tmp_path / "qbnnc", "kernels")


@pytest.mark.parametrize(
    ("mode", "private"), [(0o600, True), (0o644, True), (0o660, False), (0o602, False)]
)
def test_files(tmp_path: Path, mode: int, private: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.touch()
    file.chmod(mode)
    assert is_private_file(file.stat()) is private
    assert not is_private_file(tmp_path.stat())
    monkeypatch.setattr(os, "geteuid", lambda: ANOTHER)
    assert not is_private_file(file.stat())
