"""Deprecated: the names are in `qbnnc.study.sensitivity`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qbnnc.support.deprecation import moved

if TYPE_CHECKING:
    from qbnnc.study.sensitivity import (
        Budget,
        Choice,
        Cost,
        Layer,
        Progress,
        Sensitivities,
        Step,
        Tried,
        choose_bits,
        sensitivity,
    )

__all__ = [
    "Budget",
    "Choice",
    "Cost",
    "Layer",
    "Progress",
    "Sensitivities",
    "Step",
    "Tried",
    "choose_bits",
    "sensitivity",
]
__getattr__ = moved(__name__, "qbnnc.study.sensitivity", __all__)
