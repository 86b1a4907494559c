"""Hatchling hook: the README and the links of a distribution, as a package index shows them.

A package index has the text of the README alone. So each link to a file of the tree becomes one to
the same file of the repository, at the tag of this version. The repository's address is the hook's
option `repository` in pyproject.toml; the environment variable QBNNC_REPOSITORY replaces it. While
neither is known, a link leaves its text and a picture is left out.
"""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_FENCE = re.compile(r"(^```.*?^```$)", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
_ATTRIBUTE = re.compile(r'\b(src|srcset|href)="([^"]+)"')
_ELSEWHERE = re.compile(r"[a-z]+:|#|//")


class IndexPage(MetadataHookInterface):
    """Set `readme` and `urls`, which pyproject.toml calls dynamic."""

    def update(self, metadata: dict[str, Any]) -> None:
        repository = os.environ.get("QBNNC_REPOSITORY") or str(self.config.get("repository", ""))
        folder = str(self.config.get("folder", ""))
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        tag = f"v{metadata['version']}"
        metadata["readme"] = {
            "content-type": "text/markdown",
            "text": absolute(text, repository.rstrip("/"), tag, folder),
        }
        if repository:
            metadata["urls"] = urls(repository.rstrip("/"), tag)


def urls(repository: str, tag: str) -> dict[str, str]:
    """The addresses beside an index's page, by their well-known labels."""
    return {
        "Source": repository,
        "Documentation": f"{repository}/tree/{tag}/docs",
        "Issues": f"{repository}/issues",
        "Changelog": f"{repository}/blob/{tag}/CHANGELOG.md",
    }


def absolute(text: str, repository: str, tag: str, folder: str = "") -> str:
    """A README of `folder` whose links lead to `repository` at `tag`; code stays as it is.

    Without a repository a relative link leaves its text, and a picture nothing.
    """
    parts = _FENCE.split(text)  # text and code in turns
    parts[::2] = [_linked(part, repository, tag, folder) for part in parts[::2]]
    return "".join(parts)


def _linked(text: str, repository: str, tag: str, folder: str) -> str:
    def address(link: str, kind: str) -> str:
        path, hash_, anchor = link.partition("#")
        return f"{repository}/{kind}/{tag}/{_place(folder, path)}{hash_}{anchor}"

    def link(match: re.Match[str]) -> str:
        picture, label, target = match.groups()
        if _ELSEWHERE.match(target):
            return match[0]
        if not repository:
            return "" if picture else label
        return f"{picture}[{label}]({address(target, 'raw' if picture else 'blob')})"

    def attribute(match: re.Match[str]) -> str:
        name, target = match.groups()
        if _ELSEWHERE.match(target) or not repository:
            return match[0]
        return f'{name}="{address(target, "blob" if name == "href" else "raw")}"'

    return _ATTRIBUTE.sub(attribute, _LINK.sub(link, text))


def _place(folder: str, path: str) -> str:
    """A path from the root of the repository, which `path` is from `folder`; `..` is resolved."""
    parts = list[str]()
    for part in PurePosixPath(folder, path).parts:
        if part != "..":
            parts.append(part)
        elif parts:
            parts.pop()
    return "/".join(parts)
