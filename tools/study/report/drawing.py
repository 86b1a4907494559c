"""Images of a page: matplotlib's SVG as data URIs, the same bytes for the same drawing."""

from __future__ import annotations

import io
import warnings
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.transforms import Bbox

from qbnnc.study.report.grouping import Network
from qbnnc.study.results import Precision

# Okabe and Ito (2008): told apart with any colour vision. Their yellow is too pale for lines.
BLUE, VERMILION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#A6508C"
INK: Final = "#1a1a1a"
_COLOURS: Final = (BLUE, VERMILION, GREEN, PURPLE, "#C77F00", "#3A96C7", INK)
_MARKERS: Final = "osD^vPX*"  # one more than colours: pairs repeat after 56 networks
_DASHES: Final = {Precision.FLOAT: ":", Precision.PTQ: "--", Precision.QAT: "-"}
_WIDTH: Final = 3.75  # inches; as wide as a phone, text is then 15 to 16 pixels high
_NO_METADATA: Final = dict.fromkeys(("Creator", "Date", "Format", "Type"))


@dataclass(frozen=True, slots=True)
class Look:
    """The look of a line. The dash tells the precision; only QAT has filled markers."""

    colour: str
    marker: str
    precision: Precision

    @property
    def dash(self) -> str:
        return _DASHES[self.precision]

    @property
    def face(self) -> str:
        """The colour inside its markers."""
        return self.colour if self.precision is Precision.QAT else "white"

    @staticmethod
    def of(network: Network, networks: Sequence[Network], precision: Precision) -> Look:
        """Each network has a colour and a marker of its own."""
        i = networks.index(network)
        return Look(_COLOURS[i % len(_COLOURS)], _MARKERS[i % len(_MARKERS)], precision)


@dataclass(frozen=True, slots=True)
class Image:
    """A drawing as a data URI, and its values in words for who cannot see it."""

    source: str
    alt: str


@dataclass(frozen=True, slots=True)
class Figure:
    """Panels that belong together, with one legend and one caption."""

    heading: str
    caption: str
    panels: Sequence[Image]
    looks: Mapping[str, Look]

    @property
    def legend(self) -> list[tuple[str, str]]:
        """Each entry's text, and a data URI with a piece of its line."""
        return [(text, _swatch(look)) for text, look in self.looks.items()]


def image(draw: Callable[[Axes], None], alt: str, height: float = 2.9, left: float = 0.74) -> Image:
    """Draw a panel `height` inches high, with a margin to the `left` for names.

    Margins are fixed, as a layout would take longer than the drawing. The image grows where a long
    name needs more.
    """
    box = (left / _WIDTH, 0.58 / height, 1 - (left + 0.1) / _WIDTH, 1 - 0.98 / height)
    return Image(_data_uri(draw, (_WIDTH, height), box), printable(alt))


def shortened(text: str, width: int = 24) -> str:
    """A name on one line of at most `width` characters, for inside a drawing.

    >>> shortened("features.block3.conv2.weight_fake", 20)
    'features.…eight_fake'
    """
    line = " ".join(printable(text).split())
    if len(line) <= width:
        return line
    return f"{line[: (width - 1) // 2]}…{line[-(width - 1 - (width - 1) // 2) :]}"


def printable(text: str) -> str:
    """Text that HTML and XML can hold: control characters become " ", lone surrogates "?"."""
    spaced = "".join(
        " " if ord(c) < 0xA0 and not c.isprintable() and c != "\n" else c for c in text
    )
    return spaced.encode("utf-8", "replace").decode()


@lru_cache(maxsize=256)
def _swatch(look: Look) -> str:
    def draw(axes: Axes) -> None:
        axes.plot([0, 2], [0, 0], look.dash, color=look.colour)
        marker = look.marker or "none"
        axes.plot([1], [0], marker=marker, color=look.colour, markerfacecolor=look.face)
        axes.set_axis_off()

    return _data_uri(draw, (0.6, 0.2), (0, 0, 1, 1))


def _data_uri(
    draw: Callable[[Axes], None],
    size: tuple[float, float],
    box: tuple[float, float, float, float],
) -> str:
    buffer = io.BytesIO()
    with matplotlib.rc_context(), warnings.catch_warnings():
        # The page's reader has the glyphs that matplotlib's own font lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        matplotlib.rcdefaults()
        _set_style()
        canvas = Canvas(figsize=size)
        draw(canvas.add_axes(box))
        whole = Bbox.union([Bbox.from_bounds(0, 0, *size), canvas.get_tightbbox()])
        canvas.savefig(
            buffer, format="svg", metadata=_NO_METADATA, transparent=True, bbox_inches=whole
        )
    return f"data:image/svg+xml;base64,{b64encode(buffer.getvalue()).decode()}"


def _set_style() -> None:
    rc = matplotlib.rc
    rc("axes", axisbelow=True, edgecolor="#767676", grid=True, labelcolor=INK, labelsize=12)
    rc("axes", titlelocation="left", titlepad=11, titlesize=12, titleweight="bold")
    rc("axes.formatter", useoffset=False)
    rc("axes.spines", right=False, top=False)
    rc("grid", color="#e4e4e4")
    rc("lines", linewidth=1.8, markersize=6)
    rc("svg", fonttype="none", hashsalt="qbnnc")  # the reader's fonts have more glyphs
    rc("text", color=INK, parse_math=False)
    rc("xtick", color=INK, labelsize=11)
    rc("ytick", color=INK, labelsize=11)
