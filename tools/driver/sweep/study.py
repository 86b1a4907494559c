"""A study: networks, data and settings, all that a worker needs to do any job of it."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version

import numpy as np
from numpy.typing import NDArray

from qbnnc.evaluation.data import LabelledData
from qbnnc.ir import format
from qbnnc.ir.model import Model
from qbnnc.ir.types import Array
from qbnnc.sweep.rows import Header
from qbnnc.sweep.settings import Settings, describe_array, digest
from qbnnc.version import COMPILER

Floats = NDArray[np.float32]
Labels = NDArray[np.int64] | NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Study:
    """Pickles whole, so that it can be sent to machines that have none of the files.

    `models` are FLOAT Models as the bytes of their files, by the network's name. `calibration`
    [N, *shape], at most 512 rows, decides the ranges. `train` [N, *shape] and its labels or
    targets, if there are any, are for fine-tuning; without it, None will do. `ood` [N, *shape] are
    inputs from elsewhere, confusion data.
    """

    models: Mapping[str, bytes]
    calibration: Floats
    train: Floats | None
    train_labels: Labels | None
    test: LabelledData
    ood: Floats | None
    settings: Settings

    def model(self, network: str) -> Model:
        """The FLOAT Model of a network."""
        return format.from_bytes(self.models[network], network)

    @cached_property
    def configuration(self) -> dict[str, str]:
        """Everything that decides a result, given its key; equal texts, equal results."""
        arrays: dict[str, Array] = {
            "calibration": self.calibration,
            "test": self.test.x,
            "test labels": self.test.y,
        }
        if self.train is not None:
            arrays["train"] = self.train
        if self.train_labels is not None:
            arrays["train labels"] = self.train_labels
        if self.ood is not None:
            arrays["confusion"] = self.ood
        texts = {name: describe_array(array) for name, array in arrays.items()}
        for name in self.models:
            model = self.model(name)
            texts[f"network {name}"] = f"{model.method}, sha256 {format.digest(model)[:12]}"
        return texts | self.settings.describe() | {"compiler": COMPILER}

    def header(self, name: str, command: str = "") -> Header:
        """The first row of its file. `command` is for people."""
        methods = list(dict.fromkeys(self.model(network).method for network in self.models))
        made = {"qbnnc": COMPILER.split()[-1], **_versions(), "python": platform.python_version()}
        return Header(
            name,
            ", ".join(methods),
            self.settings.task,
            digest(self.configuration),
            made | ({"command": command} if command else {}),
            self.configuration,
        )


def _versions() -> dict[str, str]:
    found = {}
    for package in ("torch", "numpy", "numba"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
