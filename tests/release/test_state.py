"""A tree that is not ready is refused, with the reason."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tools.release.state import NotReadyError, faults, other_versions, version

ROOT = Path(__file__).parents[2]
FILES = {
    "tools/qbnnc/version.py": '__version__ = "1.2.0"\n',
    "CITATION.cff": "cff-version: 1.2.0\nversion: 1.2.0\n",
    "CHANGELOG.md": (
        "# Changelog\n\n## [Unreleased]\n\n## [1.2.0] - 2026-11-29\n\n### Added\n\n- A.\n\n"
        "## [1.1.0] - 2026-10-01\n\n- B.\n"
    ),
}
Git = Callable[..., None]


def write(root: Path, **replaced: tuple[str, str]) -> None:
    """The files of a ready tree, with one text of some of them replaced."""
    for name, text in FILES.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        old, new = replaced.get(file.stem.lower(), ("", ""))
        assert old in text
        file.write_text(text.replace(old, new))


@pytest.fixture
def git(tmp_path: Path) -> Git:
    """Runs git in a repository of one commit, which is ready."""

    def run(*words: str) -> None:
        who = ("-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
        subprocess.run(["git", *who, *words], cwd=tmp_path, check=True, capture_output=True)

    write(tmp_path)
    run("init", "-q")
    run("add", "-A")
    run("commit", "-q", "-m", "one")
    return run


def test_a_ready_tree(git: Git, tmp_path: Path) -> None:
    assert faults(tmp_path) == []
    git("tag", "v1.1.0-of-others", "-m", "x", "HEAD~0")
    assert version(tmp_path) == "1.2.0"


def test_the_tag_of_the_version_may_be_there(git: Git, tmp_path: Path) -> None:
    git("tag", "-a", "v1.2.0", "-m", "x")
    assert faults(tmp_path) == []


def test_a_tag_of_another_commit_is_refused(git: Git, tmp_path: Path) -> None:
    git("tag", "v1.2.0")
    git("commit", "-q", "--allow-empty", "-m", "two")
    assert faults(tmp_path) == ["the tag v1.2.0 is another commit: choose a new version"]


def test_a_tag_of_another_version_is_refused(git: Git, tmp_path: Path) -> None:
    git("tag", "v1.3.0")
    git("tag", "other")
    assert faults(tmp_path) == ["HEAD has the tag v1.3.0, and the sources are v1.2.0"]


def test_changed_and_new_files_are_refused(git: Git, tmp_path: Path) -> None:
    (tmp_path / "CITATION.cff").write_text("version: 1.2.0\n")
    for number in range(6):
        (tmp_path / f"new{number}").touch()
    (fault,) = faults(tmp_path)
    assert fault == (
        "not committed: CITATION.cff, new0, new1, new2, new3 and 2 more; commit or remove them"
    )


def test_a_folder_without_git_is_refused(tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(NotReadyError, match=r"git status: .*; a release needs a clone"):
        faults(tmp_path)


@pytest.mark.parametrize(
    ("replaced", "reason"),
    [
        ({"citation": ("\nversion: 1.2.0", "\nversion: 1.1.0")}, "CITATION.cff does not say"),
        ({"citation": ("\nversion: 1.2.0", "")}, "CITATION.cff does not say `version: 1.2.0`"),
        ({"changelog": ("[1.2.0]", "[1.2.1]")}, "newest version is not 1.2.0"),
        ({"changelog": (" - 2026-11-29", "")}, "CHANGELOG.md has no date for 1.2.0"),
        ({"changelog": (" - 2026-11-29", " - soon")}, "CHANGELOG.md has no date for 1.2.0"),
        ({"changelog": ("[Unreleased]\n", "[Unreleased]\n\n- C.\n")}, "under Unreleased"),
        ({"version": ("1.2.0", "1.3.0")}, "newest version is not 1.3.0"),
    ],
)
def test_texts_that_disagree(
    replaced: dict[str, tuple[str, str]], reason: str, tmp_path: Path
) -> None:
    write(tmp_path, **replaced)
    assert reason in "\n".join(other_versions(tmp_path))


def test_a_version_that_is_not_written_is_refused(tmp_path: Path) -> None:
    write(tmp_path, version=("__version__", "VERSION"))
    with pytest.raises(NotReadyError, match="has no __version__"):
        version(tmp_path)


def test_our_own_texts_agree() -> None:
    """Entries under Unreleased are as they should be between releases."""
    found = [fault for fault in other_versions(ROOT) if "under Unreleased" not in fault]
    assert found == []
