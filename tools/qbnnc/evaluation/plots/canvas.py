"""The figure: style, colours, and files with the same bytes for the same drawing."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import matplotlib
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe and Ito (2008): told apart with any colour vision; dashes and markers differ too.
_COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#A6508C", "#C77F00", "#3A96C7", "#595959")
_MARKERS: Final = "osD^vPX"
_DASHES: Final = ("-", "--", "-.", (0, (5, 1)), (0, (3, 1, 1, 1, 1, 1)), (0, (1, 1)), (0, (8, 2)))
INK: Final = "#1a1a1a"
_PANEL: Final = (4.3, 4.0)  # inches
_FOOT: Final = 0.5  # inches for the legend and the title
Draw = Callable[[Axes], None]


@dataclass(frozen=True, slots=True)
class Look:
    """The look of one model's lines; the float reference is a dotted black one."""

    label: str
    colour: str
    marker: str
    dash: str | tuple[int, tuple[int, ...]]

    @staticmethod
    def of(number: int, label: str, *, reference: bool) -> Look:
        if reference:
            return Look(label, INK, "x", ":")
        i = number % len(_COLOURS)
        return Look(label, _COLOURS[i], _MARKERS[i], _DASHES[i])


def drawn(panels: Sequence[Draw], title: str, suffix: str) -> bytes:
    """The panels side by side, with one legend below, in the format of the suffix."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        # names may have letters that matplotlib's font lacks; an SVG has the reader's font
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        matplotlib.rcdefaults()
        _set_style()
        height = _PANEL[1] + 2 * _FOOT
        figure = Figure(figsize=(_PANEL[0] * len(panels), height), facecolor="white")
        figure.suptitle(title, x=0.01, ha="left")
        for number, draw in enumerate(panels, 1):
            draw(figure.add_subplot(1, len(panels), number))
        _legend(figure)
        figure.tight_layout(rect=(0, _FOOT / height, 1, 1 - 0.2 * _FOOT / height), w_pad=2)
        return _bytes(figure, title, suffix)


def _legend(figure: Figure) -> None:
    """One entry a label, in the order in which panels bring them."""
    entries = dict[str, Artist]()
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(str(label), handle)
    columns = min(5, max(1, len(entries)))
    figure.legend(
        list(entries.values()), list(entries), loc="lower left", ncols=columns, frameon=False
    )


def _bytes(figure: Figure, title: str, suffix: str) -> bytes:
    """The file, without the time or the host."""
    metadata: dict[str, dict[str, str | None]] = {
        ".svg": {"Title": title, "Date": None, "Creator": None},
        ".png": {"Title": title, "Software": None},
        ".pdf": {"Title": title, "CreationDate": None, "Creator": None, "Producer": None},
    }
    buffer = io.BytesIO()
    figure.savefig(buffer, format=suffix[1:], metadata=metadata[suffix], dpi=150)
    return buffer.getvalue()


def _set_style() -> None:
    rc = matplotlib.rc
    rc("axes", axisbelow=True, edgecolor="#767676", grid=True, labelcolor=INK, labelsize=11)
    rc("axes", titlelocation="left", titlesize=12, titleweight="bold", titlepad=9)
    rc("axes.spines", right=False, top=False)
    rc("figure", titlesize=12)
    rc("font", size=11)
    rc("grid", color="#e4e4e4")
    rc("lines", linewidth=1.7, markersize=5)
    rc("pdf", fonttype=42)
    rc("svg", fonttype="none", hashsalt="qbnnc")
    rc("text", color=INK, parse_math=False)
