"""What the callback needs of a Trainer, a batch, a checkpoint and the options."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol, cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from qbnnc.frontend.files.detect_format import detect_format
from qbnnc.frontend.files.stored_weights import read_stored
from qbnnc.loading.sources import Dropout, names_from
from qbnnc.options import options_from
from qbnnc.passes.options import CompileOptions
from qbnnc.passes.pipeline import Options as PipelineOptions
from qbnnc.support.errors import FileError, InputError, UserError
from qbnnc.support.inputs import as_array, evenly_spaced
from qbnnc.verification.distribution import DistributionCheck

MOST_ROWS = 512  # of the calibration


class Checkpoint(Protocol):
    """A ModelCheckpoint, as far as it is needed."""

    monitor: str | None
    best_model_path: str


class Trainer(Protocol):
    """A Trainer, as far as it is needed."""

    @property
    def is_global_zero(self) -> bool: ...

    @property
    def fast_dev_run(self) -> int | bool: ...

    @property
    def strategy(self) -> object: ...

    @property
    def checkpoint_callbacks(self) -> Sequence[Checkpoint]: ...


class Options(CompileOptions, total=False):
    """The keyword arguments of `qbnnc.compile` that the callback hands on."""

    samples: int | None
    task: str | None
    dropout: Dropout | None
    output_names: str | Sequence[str] | None
    distribution_check: DistributionCheck
    spread_check: bool


def own_random_numbers() -> AbstractContextManager[None]:
    """Leave the generator of the training as it is."""
    return torch.random.fork_rng(devices=[])


def pipeline_options(given: Options) -> PipelineOptions:
    """The pipeline's options; UserError for one that is unknown or wrong."""
    names_from(given.get("output_names"))
    others = Options.__annotations__.keys() - CompileOptions.__annotations__.keys()
    quantisation = {name: value for name, value in given.items() if name not in others}
    return options_from(cast(CompileOptions, quantisation), given.get("samples"), given.get("task"))


def calibration_rows(values: object) -> NDArray[np.float32]:
    """At most 512 rows, evenly spaced, as float32 [N, *shape]; InputError for none."""
    name = "`calibration`"
    if isinstance(values, Tensor):
        values = values.detach().cpu().float().numpy()
    array = as_array(cast(ArrayLike, values), name)
    if array.ndim == 0 or len(array) == 0:
        raise InputError("no rows", place=name, remedy="give 100 or more typical inputs")
    if array.dtype.kind not in "fiub":
        raise InputError(f"the element type is {array.dtype}", place=name, remedy="give numbers")
    return array[evenly_spaced(len(array), MOST_ROWS)].astype(np.float32)


def inputs_of(batch: object) -> NDArray[np.float32]:
    """The inputs of a training batch: the tensor that it is, or begins with."""
    first = batch[0] if isinstance(batch, tuple | list) and batch else batch
    if not isinstance(first, Tensor):
        raise InputError(
            f"a training batch is a {type(batch).__name__}, in which the inputs are not known",
            place="`calibration`",
            remedy="give 100 or more typical inputs",
        )
    return first.detach().cpu().float().numpy()


def monitored(trainer: Trainer) -> Checkpoint:
    """The one ModelCheckpoint that knows what is best; UserError if there is none, or several."""
    found = [each for each in trainer.checkpoint_callbacks if getattr(each, "monitor", None)]
    if len(found) != 1:
        what = "no ModelCheckpoint has a monitor" if not found else "several ModelCheckpoints do"
        raise UserError(
            f"{what}, so that no checkpoint is the best",
            place="`weights` 'best'",
            remedy="give the Trainer one ModelCheckpoint(monitor=...)",
        )
    return found[0]


def best_weights(trainer: Trainer, *, trust_pickle: bool) -> dict[str, Tensor]:
    """The weights of the best checkpoint; FileError if it cannot be read."""
    path = monitored(trainer).best_model_path
    if not path:
        raise UserError("no checkpoint was saved", place="`weights` 'best'")
    stored = read_stored(Path(path), detect_format(Path(path)), trust_pickle=trust_pickle)
    state = stored.get("state_dict") if isinstance(stored, dict) else None
    if not isinstance(state, dict):
        raise FileError("holds no state_dict", path)
    return state
