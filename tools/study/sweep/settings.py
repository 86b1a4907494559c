"""What holds for every item of a study, and the text by which two studies are told apart."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING

import numpy as np

from qbnnc.ir.head import Task
from qbnnc.ir.model import Model
from qbnnc.ir.types import Array
from qbnnc.options import given_options, options_from
from qbnnc.passes.options import Bits, CompileOptions
from qbnnc.passes.pipeline import Options
from qbnnc.support.errors import FileError
from qbnnc.support.extras import require
from qbnnc.support.inputs import choice, whole

if TYPE_CHECKING:
    from qbnnc.backends.torch.training import Training


@dataclass(frozen=True, slots=True)
class Tuning:
    """The user's choices; None leaves one to qbnnc.backends.torch.training.Training."""

    loss: str | None = None
    epochs: float | None = None
    lr: float | None = None
    batch_size: int | None = None

    def given(self) -> dict[str, object]:
        """The choices that were made, by option."""
        named = {f"--{f.name.replace('_', '-')}": getattr(self, f.name) for f in fields(self)}
        return {option: value for option, value in named.items() if value is not None}

    def training(self, seed: int) -> Training:
        """All of it, for one seed; UserError for a choice that is none."""
        require("torch", what="--qat")
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
    """What is done with each item. `samples` counts the draws of each member, as in compile.

    `compile_options` is how integers are made, at any bits. `target_mean` and `target_std` bring
    predictions of standardised targets back to their units. `shifted` are the bits at which
    distribution shifts are evaluated, besides float; None: nowhere.
    """

    task: Task
    samples: int | None = None
    compile_options: CompileOptions = field(default_factory=CompileOptions)
    tuning: Tuning = field(default_factory=Tuning)
    target_mean: float = 0.0
    target_std: float = 1.0
    shifted: Bits | None = None

    def options(self, bits: Bits, model: Model) -> Options:
        """Of the pipeline, at `bits`; UserError for a choice that is none."""
        samples = self.samples if model.stochastic else None
        made = options_from(self.compile_options, samples, self.task.value)
        return replace(made, quantisation=replace(made.quantisation, bits=bits))

    def describe(self) -> dict[str, str]:
        """Option by option, as text; defaults are left out."""
        values = {
            "--task": self.task.value,
            "--samples": self.samples,
            **self.tuning.given(),
            "--target-mean": self.target_mean or None,
            "--target-std": None if self.target_std == 1 else self.target_std,
            "--shifts": self.shifted and f"float, {self.shifted}",
        }
        compile_options = (
            value for value in self.compile_options.values() if value is not None and value != {}
        )
        values |= dict(zip(given_options(self.compile_options), compile_options, strict=True))
        return {name: str(value) for name, value in values.items() if value is not None}


def describe_array(array: Array) -> str:
    """ "512 x 1 x 28 x 28, sha256 0123456789ab": its shape and what identifies its content."""
    hash = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    hash.update(np.ascontiguousarray(array).data)
    return f"{' x '.join(map(str, array.shape))}, sha256 {hash.hexdigest()[:12]}"


def digest(configuration: Mapping[str, str]) -> str:
    """SHA-256 of the text: equal for equal configurations."""
    lines = "\n".join(f"{name}: {text}" for name, text in sorted(configuration.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def other_configuration(
    path: object, found: Mapping[str, str], wanted: Mapping[str, str]
) -> FileError:
    """What to say of a study file made with the configuration `found`; it names what differs."""
    differing = [
        f"{name} {_short(found.get(name))}, now {_short(wanted.get(name))}"
        for name in sorted(found.keys() | wanted.keys())
        if found.get(name) != wanted.get(name)
    ]
    return FileError(
        f"holds results made with other options or data ({'; '.join(differing) or 'unknown'}): "
        "repeat them as they were, or give another file with -o",
        path,
    )


def _short(text: str | None) -> str:
    return "not given" if text is None else text
