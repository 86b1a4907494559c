"""A study: its settings, networks and data, and the texts that tell two studies apart."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from qbnnc.evaluation.data import LabelledData
from qbnnc.evaluation.score import Rows
from qbnnc.ir import format
from qbnnc.ir.head import Task
from qbnnc.ir.model import Model
from qbnnc.ir.types import Array
from qbnnc.options import given_options, options_from
from qbnnc.passes.options import Bits, CompileOptions
from qbnnc.passes.pipeline import Options
from qbnnc.study.results import Header
from qbnnc.support.errors import FileError
from qbnnc.support.extras import require
from qbnnc.support.inputs import choice, whole
from qbnnc.version import COMPILER

if TYPE_CHECKING:
    from qbnnc.backends.torch.training import Training

_OTHER_KEYS = {"layers": "--layer", "observer": "--calibration"}
Floats = NDArray[np.float32]
Labels = NDArray[np.int64] | NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Tuning:
    """The user's choices for fine-tuning; None takes the default of `qbnnc.Training`."""

    loss: str | None = None
    epochs: float | None = None
    lr: float | None = None
    batch_size: int | None = None

    def given(self) -> dict[str, object]:
        """The choices that differ from None, by their flag: the keys in files of results."""
        named = {_key(f.name): getattr(self, f.name) for f in fields(self)}
        return {option: value for option, value in named.items() if value is not None}

    def training(self, seed: int) -> Training:
        """The training options for one seed; UserError for an unknown or impossible choice."""
        require("torch", what="`qat`")
        from qbnnc.backends.torch.training import Loss, Training

        made = Training(seed=seed)
        if self.loss is not None:
            made = replace(made, loss=choice("loss", Loss, self.loss))
        if self.epochs is not None:
            made = replace(made, epochs=self.epochs)
        if self.lr is not None:
            made = replace(made, lr=self.lr)
        if self.batch_size is not None:
            made = replace(made, batch_size=whole("batch_size", self.batch_size, 1))
        return made

    def check(self, model: Model) -> None:
        """UserError if the loss does not fit the network's outputs."""
        from qbnnc.backends.torch.training.losses import check_loss

        check_loss(self.training(seed=0).loss, model)


@dataclass(frozen=True, slots=True)
class Settings:
    """The options that hold for every item.

    `samples` are those of each member, as in compile. `compile_options` hold for all bits.
    `target_mean` and `target_std` bring predictions of standardised targets back to their units.
    Distribution shifts are evaluated in float and at the bits `shifted`; None: nowhere.
    """

    task: Task
    samples: int | None = None
    compile_options: CompileOptions = field(default_factory=CompileOptions)
    tuning: Tuning = field(default_factory=Tuning)
    target_mean: float = 0.0
    target_std: float = 1.0
    shifted: Bits | None = None

    def options(self, bits: Bits, model: Model) -> Options:
        """The options of the pipeline at `bits`; UserError for an unknown choice."""
        samples = self.samples if model.stochastic else None
        made = options_from(self.compile_options, samples, self.task.value)
        return replace(made, quantisation=replace(made.quantisation, bits=bits))

    def describe(self) -> dict[str, str]:
        """The options as text, by flag, without defaults: keys and texts in files of results."""
        values = {
            "--task": self.task.value,
            "--samples": self.samples,
            **self.tuning.given(),
            "--target-mean": self.target_mean or None,
            "--target-std": None if self.target_std == 1 else self.target_std,
            "--shifts": self.shifted and f"float, {self.shifted}",
        }
        given = given_options(self.compile_options)
        values |= {_key(name): self.compile_options.get(name) for name in given}
        return {name: str(value) for name, value in values.items() if value is not None}


@dataclass(frozen=True, eq=False)
class Study:
    """Networks, data and settings; a pickle of it goes to machines that have none of the files.

    `models` are FLOAT Models as the bytes of their files, by the network's name. `calibration`
    [N, *shape], at most 512 rows, decides the ranges. `train` [N, *shape] and its labels or
    targets are for fine-tuning, else None. `ood` [N, *shape] are out-of-distribution inputs.
    `float_rows` are what a worker knows of the float networks, by network and seed.
    """

    models: Mapping[str, bytes]
    calibration: Floats
    train: Floats | None
    train_labels: Labels | None
    test: LabelledData
    ood: Floats | None
    settings: Settings
    float_rows: dict[tuple[str, int], Rows] = field(default_factory=dict, repr=False)

    def model(self, network: str) -> Model:
        """The FLOAT Model of a network."""
        return format.from_bytes(self.models[network], network)

    @cached_property
    def configuration(self) -> dict[str, str]:
        """Everything that decides a result, given its key: equal texts mean equal results."""
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
            arrays["confusion"] = self.ood  # the key in files of results
        texts = {name: describe_array(array) for name, array in arrays.items()}
        for name in self.models:
            model = self.model(name)
            texts[f"network {name}"] = f"{model.method}, sha256 {format.digest(model)[:12]}"
        return texts | self.settings.describe() | {"compiler": COMPILER}

    def header(self, name: str, command: str = "") -> Header:
        """The first row of the study's file. `command` is for people."""
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


def _key(option: str) -> str:
    """The name of an option in files of results, which is a flag of the command line."""
    return _OTHER_KEYS.get(option, f"--{option.replace('_', '-')}")


def describe_array(array: Array) -> str:
    """ "512 x 1 x 28 x 28, sha256 0123456789ab": the shape, and a hash of the content."""
    hash = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    hash.update(np.ascontiguousarray(array).data)
    return f"{' x '.join(map(str, array.shape))}, sha256 {hash.hexdigest()[:12]}"


def digest(configuration: Mapping[str, str]) -> str:
    """SHA-256 of a configuration: equal for equal configurations."""
    lines = "\n".join(f"{name}: {text}" for name, text in sorted(configuration.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def other_configuration(
    path: object, found: Mapping[str, str], wanted: Mapping[str, str]
) -> FileError:
    """The error for a file made with the configuration `found`; it names what differs."""
    differing = [
        f"{name} {_short(found.get(name))}, now {_short(wanted.get(name))}"
        for name in sorted(found.keys() | wanted.keys())
        if found.get(name) != wanted.get(name)
    ]
    return FileError(
        f"holds results made with other options or data ({'; '.join(differing) or 'unknown'})",
        path,
        "repeat them as they were, or give another file with `output`",
    )


def _short(text: str | None) -> str:
    return "not given" if text is None else text


def _versions() -> dict[str, str]:
    found = {}
    for package in ("torch", "numpy", "numba"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
