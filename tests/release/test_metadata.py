"""The README of an index's page: links lead to the repository, at the tag of the version."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("hatchling")

from tools.hatch_metadata import IndexPage, absolute

ROOT = Path(__file__).parents[2]
HOME = "https://example.org/us/qbnnc"
README = """# Title

![A picture](docs/a.svg) and [a page](docs/b.md#part), [here](#title), [there](https://x.org/y).

```
[not a link](docs/c.md)
```

<img src="docs/d.png" alt="d"> <a href="docs/e.md">e</a>
"""


def test_links_and_pictures_become_addresses() -> None:
    assert absolute(README, HOME, "v1.2.3") == (
        "# Title\n\n"
        "![A picture](https://example.org/us/qbnnc/raw/v1.2.3/docs/a.svg) and "
        "[a page](https://example.org/us/qbnnc/blob/v1.2.3/docs/b.md#part), "
        "[here](#title), [there](https://x.org/y).\n\n"
        "```\n[not a link](docs/c.md)\n```\n\n"
        '<img src="https://example.org/us/qbnnc/raw/v1.2.3/docs/d.png" alt="d"> '
        '<a href="https://example.org/us/qbnnc/blob/v1.2.3/docs/e.md">e</a>\n'
    )


def test_a_path_is_resolved_from_the_readmes_folder() -> None:
    made = absolute("[up](../../README.md) [beside](x.md)", HOME, "v1", "tools/part")
    assert made == f"[up]({HOME}/blob/v1/README.md) [beside]({HOME}/blob/v1/tools/part/x.md)"


def test_without_a_repository_text_stays_and_pictures_go() -> None:
    text = "![A picture](a.svg)[a page](b.md) [there](https://x.org)"
    assert absolute(text, "", "v1") == "a page [there](https://x.org)"


@pytest.mark.parametrize("folder", ["", "tools/qbnnc_onnx"])
def test_our_own_readmes_have_no_other_links(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each address is that of a file which exists."""
    monkeypatch.setenv("QBNNC_REPOSITORY", f"{HOME}/")
    metadata: dict[str, Any] = {"version": "1.2.3"}
    IndexPage(str(ROOT / folder), {"folder": folder, "repository": "unused"}).update(metadata)
    text = re.sub(r"^```.*?^```$", "", metadata["readme"]["text"], flags=re.DOTALL | re.M)
    links = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|href)="([^"]+)"', text)
    assert links
    for link in links:
        assert re.match(r"https://|#", link)
        if link.startswith(HOME):
            kind, tag, path = link.removeprefix(f"{HOME}/").split("/", 2)
            assert kind in {"blob", "raw"}
            assert tag == "v1.2.3"
            assert (ROOT / path.partition("#")[0]).exists()
    assert metadata["urls"]["Source"] == HOME
