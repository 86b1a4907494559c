"""The pictures of docs/how-to/look-inside.md, by the commands of that page: `make pictures`."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "how-to" / "look-inside.md"
FOLDER = PAGE.parent / "pictures"
_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_STRIP = re.compile(r'<svg width="(\d+)" height="(\d+)" (viewBox.*?</svg>)', re.DOTALL)
_STYLE = """\
text { font: 12px sans-serif; text-anchor: middle; fill: #1a1a1a; }
.name { font-weight: 600; }
rect { stroke: #5c5c5c; } a rect { stroke: #005a8f; stroke-width: 2; }
.edge { fill: none; stroke: #6b6b6b; stroke-width: 1.4; }
.row rect { fill: #e3f1ea; } .sample rect { fill: #f3e3f1; } .both rect { fill: #e1ecf7; }
"""


def main() -> None:
    """Run the page's blocks in the root, and keep what they draw."""
    script = "".join(_BLOCK.findall(PAGE.read_text(encoding="utf-8")))
    subprocess.run(["bash", "-euo", "pipefail"], input=script, cwd=ROOT, text=True, check=True)
    FOLDER.mkdir(exist_ok=True)
    for name in ("classification", "regression"):
        picture = (ROOT / "build" / "look" / f"{name}.svg").read_bytes()
        (FOLDER / f"{name}.svg").write_bytes(picture)
    page = (ROOT / "build" / "look" / "lenet.html").read_text(encoding="utf-8")
    (FOLDER / "graph.svg").write_text(graph_of(page), encoding="utf-8")


def graph_of(page: str) -> str:
    """The strips of a page's graph as one SVG, with colours of its own, and without links."""
    strips = [strip.groups() for strip in _STRIP.finditer(page) if 'class="edge"' in strip[0]]
    if not strips:
        sys.exit("the page has no graph")
    width, top, drawn = int(strips[0][0]), 0, list[str]()
    for _, height, rest in strips:
        size = f'width="{width}" height="{height}"'
        drawn.append(f'<svg y="{top}" overflow="visible" {size} {rest}')
        top += int(height)
    content = re.sub(r'<a href="[^"]*">', "<a>", "\n".join(drawn))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{top}" '
        f'viewBox="0 0 {width} {top}">\n<style>\n{_STYLE}</style>\n'
        f'<rect width="{width}" height="{top}" style="fill: #fff; stroke: none"/>\n'
        f"{content}\n</svg>\n"
    )


if __name__ == "__main__":
    main()
