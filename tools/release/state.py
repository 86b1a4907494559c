"""Whether a tree can be released: it is committed, and everything in it names one version."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

_VERSION = re.compile(r'^__version__ = "(.+)"$', re.MULTILINE)
_CITED = re.compile(r"^version: (.+)$", re.MULTILINE)
_SECTION = re.compile(r"^## \[(.+?)\](.*)$", re.MULTILINE)
_DATED = re.compile(r" - \d{4}-\d{2}-\d{2}")


class NotReadyError(Exception):
    """The tree, or what was built of it, is not what a release has to be."""


def version(root: Path) -> str:
    """The version of the sources in `root`."""
    match = _VERSION.search((root / "tools" / "qbnnc" / "version.py").read_text(encoding="utf-8"))
    if match is None:
        raise NotReadyError("tools/qbnnc/version.py has no __version__")
    return match[1]


def faults(root: Path) -> list[str]:
    """Reasons not to release the tree in `root`; none if it is ready."""
    return [*uncommitted(root), *other_versions(root), *other_tags(root)]


def uncommitted(root: Path) -> Iterator[str]:
    """A fault if files differ from HEAD, untracked ones among them."""
    if changed := git(root, "status", "--porcelain").splitlines():
        names = ", ".join(line[3:] for line in changed[:5])
        more = f" and {len(changed) - 5} more" if len(changed) > 5 else ""
        yield f"not committed: {names}{more}; commit or remove them"


def other_versions(root: Path) -> Iterator[str]:
    """Faults of CHANGELOG.md and CITATION.cff, which have to name the version."""
    made = version(root)
    citation = _CITED.search((root / "CITATION.cff").read_text(encoding="utf-8"))
    if citation is None or citation[1] != made:
        yield f"CITATION.cff does not say `version: {made}`"
    changelog = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    sections = [(match[1], match[2], match.end()) for match in _SECTION.finditer(changelog)]
    released = [section for section in sections if section[0] != "Unreleased"]
    if not released or released[0][0] != made:
        yield f"CHANGELOG.md's newest version is not {made}: write `## [{made}] - YYYY-MM-DD`"
    elif not _DATED.fullmatch(released[0][1]):
        yield f"CHANGELOG.md has no date for {made}: write `## [{made}] - YYYY-MM-DD`"
    for name, _, start in sections:
        if name == "Unreleased" and re.search(r"^- ", _until_next(changelog, start), re.MULTILINE):
            yield f"CHANGELOG.md has entries under Unreleased: move them to {made}"


def other_tags(root: Path) -> Iterator[str]:
    """Faults of tags: the version's own stands elsewhere, or HEAD has another version's."""
    own = f"v{version(root)}"
    here = [tag for tag in git(root, "tag", "--points-at", "HEAD").split() if tag.startswith("v")]
    if own in git(root, "tag", "--list", own).split() and own not in here:
        yield f"the tag {own} is another commit: choose a new version"
    for tag in here:
        if tag != own:
            yield f"HEAD has the tag {tag}, and the sources are {own}"


def git(root: Path, *arguments: str) -> str:
    """The output of a git command in `root`."""
    done = subprocess.run(["git", *arguments], cwd=root, text=True, capture_output=True)
    if done.returncode:
        raise NotReadyError(f"git {arguments[0]}: {done.stderr.strip()}; a release needs a clone")
    return done.stdout


def _until_next(changelog: str, start: int) -> str:
    following = _SECTION.search(changelog, start)
    return changelog[start : following.start() if following else len(changelog)]
