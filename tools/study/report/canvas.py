"""matplotlib's drawings as SVG that stands in a page: the same bytes for the same drawing."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Final

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.markers import MarkerStyle

from qbnnc.study.report.looks import INK, Look
from qbnnc.study.report.markup import Markup, element, escape, printable

WIDTH: Final = 3.75  # inches; as wide as a phone, text is then 15 to 16 pixels high
_DASHES: Final = {"-": "none", "--": "8 4", ":": "2 4"}
_NO_METADATA: Final = dict.fromkeys(("Creator", "Date", "Format", "Type"))


def panel(
    draw: Callable[[Axes], None],
    label: str,
    name: str,
    height: float = 2.9,
    left: float = 0.74,
) -> Markup:
    """What `draw` draws, `height` inches high with a margin to the `left`.

    `label` is for who cannot see it; `name` is unique in the page: ids begin with it.
    """
    svg = _render(draw, height, left)
    return _placed(svg, f'role="img" aria-label="{escape(label)}"', name)


def swatch(look: Look) -> Markup:
    """A piece of a line with its marker, for legends."""
    line = element(
        "path", d="M0 10H56", stroke=look.colour, stroke_width="2.2",
        stroke_dasharray=_DASHES[look.dash],
    )  # fmt: skip
    fill = look.colour if look.filled else "#fff"
    marks = (
        element("polygon", points=points, fill=fill, stroke=look.colour, stroke_width="1.5")
        for points in _outline(look.marker)
    )
    return element("svg", line, *marks, viewBox="0 0 56 20", class_="swatch", aria_hidden="true")


def _outline(marker: str) -> Iterator[str]:
    """The polygons of a marker, 10 pixels wide in the middle of a swatch."""
    if marker:
        style = MarkerStyle(marker)
        for polygon in style.get_path().transformed(style.get_transform()).to_polygons():
            points = np.asarray(polygon, np.float64).tolist()
            yield " ".join(f"{28 + 10 * x:.1f},{10 - 10 * y:.1f}" for x, y in points)


def legend(entries: Mapping[str, Look]) -> Markup:
    """Swatches with their names."""
    items = (element("li", swatch(look), text) for text, look in entries.items())
    return element("ul", *items, class_="legend")


def shortened(text: str, width: int = 24) -> str:
    """A name on one line of at most `width` characters, for inside a drawing.

    >>> shortened("features.block3.conv2.weight_fake", 20)
    'features.…eight_fake'
    """
    line = " ".join(printable(text).split())
    if len(line) <= width:
        return line
    return f"{line[: (width - 1) // 2]}…{line[-(width - 1 - (width - 1) // 2) :]}"


def _render(draw: Callable[[Axes], None], height: float, left: float) -> str:
    """Margins are fixed: laying them out anew for each panel would take longer than drawing."""
    box = (left / WIDTH, 0.58 / height, 1 - (left + 0.1) / WIDTH, 1 - 0.98 / height)
    buffer = io.BytesIO()
    with matplotlib.rc_context(), warnings.catch_warnings():
        # The page's reader has the glyphs that matplotlib's own font lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        matplotlib.rcdefaults()
        _set_style()
        figure = Figure(figsize=(WIDTH, height))
        draw(figure.add_axes(box))
        figure.savefig(buffer, format="svg", metadata=_NO_METADATA, transparent=True)
    return buffer.getvalue().decode()


def _set_style() -> None:
    rc = matplotlib.rc
    rc("axes", axisbelow=True, edgecolor="#767676", grid=True, labelcolor=INK, labelsize=12)
    rc("axes", titlelocation="left", titlepad=11, titlesize=12, titleweight="bold")
    rc("axes.formatter", useoffset=False)
    rc("axes.spines", right=False, top=False)
    rc("grid", color="#e4e4e4")
    rc("lines", linewidth=1.8, markersize=6)
    rc("svg", fonttype="none", hashsalt="qbnnc")  # text stays text: read aloud, and found
    rc("text", color=INK, parse_math=False)
    rc("xtick", color=INK, labelsize=11)
    rc("ytick", color=INK, labelsize=11)


def _placed(svg: str, attributes: str, name: str) -> Markup:
    """The drawing without what belongs to a file of its own, its ids made unique."""
    box = re.search(r'viewBox="[^"]*"', svg)
    assert box is not None
    body = svg[svg.index(">", svg.index("<svg")) + 1 :]
    body = re.sub(
        r"<metadata>.*?</metadata>|<style.*?</style>|<defs>\s*</defs>", "", body, flags=re.S
    )
    body = re.sub(r'\bid="', f'id="{name}-', body.replace("xlink:href", "href"))
    body = re.sub(r'(url\(|href=")#', rf"\g<1>#{name}-", body)
    return Markup(f"<svg {box[0]} {attributes}>{body.strip()}")
