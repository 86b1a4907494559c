"""How lines look: a colour and marker for each network, a dash for each precision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from qbnnc.study.report.study import Network
from qbnnc.study.sweep.rows import Precision

# Okabe and Ito (2008): told apart with any colour vision. Their yellow is too pale for lines.
BLUE, VERMILION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#A6508C"
INK: Final = "#1a1a1a"
_COLOURS: Final = (BLUE, VERMILION, GREEN, PURPLE, "#C77F00", "#3A96C7", INK)
_MARKERS: Final = "osD^vPX*"  # one more than colours: pairs repeat after 56 networks
_DASHES: Final = {Precision.FLOAT: ":", Precision.PTQ: "--", Precision.QAT: "-"}


@dataclass(frozen=True, slots=True)
class Look:
    """A line: matplotlib's colour, marker and dash; hollow markers where it is not `filled`."""

    colour: str
    marker: str
    dash: str
    filled: bool


def look(network: Network, networks: Sequence[Network], precision: Precision) -> Look:
    """PTQ is dashed and hollow, QAT solid and filled, float dotted."""
    index = networks.index(network)
    colour, marker = _COLOURS[index % len(_COLOURS)], _MARKERS[index % len(_MARKERS)]
    return of(colour, marker, precision)


def of(colour: str, marker: str, precision: Precision) -> Look:
    """A look with a colour and marker of the caller's."""
    return Look(colour, marker, _DASHES[precision], precision is Precision.QAT)
