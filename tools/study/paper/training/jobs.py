"""One network of the study: its data, module, training, line of figures and files."""

from __future__ import annotations

import io
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from qbnnc.loading.arrays import read_array
from qbnnc.study.paper.training import figures, recipes
from qbnnc.study.paper.training.datasets import Split, garments, table
from qbnnc.study.paper.training.fit import Weights, cross_entropy, fit, gaussian_nll, sample
from qbnnc.study.paper.training.recipes import AnyRecipe, ChainRecipe
from qbnnc.support.errors import InputError, UserError
from qbnnc.support.files import write_atomically
from tools.models import LENET5, MLP, MLP_BBB, MLP_MCD, LeNet, LeNet_BBB, LeNet_MCD

IMAGES, TABLES = "lenet", ("boston", "concrete")
NETWORKS = (IMAGES, *TABLES)
HIDDEN = 100  # features of each hidden layer of an MLP
LENETS: dict[str, Callable[[], nn.Module]] = {
    "pointwise": partial(LeNet, widths=LENET5),
    "mcd": partial(LeNet_MCD, widths=LENET5, pixel_range=1),
    "bbb": partial(LeNet_BBB, widths=LENET5),
    "sghmc": partial(LeNet, widths=LENET5),
}
MLPS: dict[str, Callable[[int], nn.Module]] = {
    "pointwise": partial(MLP, hidden=HIDDEN),
    "mcd": partial(MLP_MCD, hidden=HIDDEN),
    "bbb": partial(MLP_BBB, hidden=HIDDEN),
    "sghmc": partial(MLP, hidden=HIDDEN),
}


@dataclass(frozen=True, slots=True)
class Job:
    """A network to train.

    Fields:
        network: one of NETWORKS.
        method: one of recipes.METHODS.
        fold, folds: the part of a table that is held out; None for images, which come split.
    """

    network: str
    method: str
    fold: int | None = None
    folds: int = 10

    @property
    def data_name(self) -> str:
        return self.network if self.fold is None else f"{self.network}_fold{self.fold}"

    @property
    def name(self) -> str:
        fold = "" if self.fold is None else f"_fold{self.fold}"
        return f"{self.network}_{self.method}{fold}"

    @property
    def recipe(self) -> AnyRecipe:
        kind = recipes.LENET if self.network == IMAGES else recipes.MLP
        return kind[self.method]

    def data(self, folder: Path) -> Split:
        """The rows for training and testing; errors as in `training.datasets`."""
        if self.fold is None:
            return garments(folder)
        return table(folder, self.network, self.fold, self.folds)

    def module(self, features: int) -> nn.Module:
        """The untrained network."""
        return LENETS[self.method]() if self.fold is None else MLPS[self.method](features)


def jobs(networks: Sequence[str], methods: Sequence[str], folds: int) -> Iterator[Job]:
    """The networks to train: for images first, then fold by fold."""
    for network in networks:
        for fold in [None] if network == IMAGES else range(folds):
            for method in methods:
                yield Job(network, method, fold, folds)


def run(job: Job, data: Path, out: Path, scale: float) -> str:
    """Train a network unless its files are there, and return the line to print about it.

    OUT/<data_name>.npz holds the rows, OUT/<name>.pt the weights. Raises FileError or InputError
    for data that cannot be used, UserError if the training diverged; no weights are written then.
    """
    file = out / f"{job.name}.pt"
    split = job.data(data)
    keep_rows(out / f"{job.data_name}.npz", split)
    if file.exists():
        return f"{job.name}: is there"
    start = time.perf_counter()
    module, members = trained(job, split, scale)
    seconds = time.perf_counter() - start
    if not all(bool(torch.isfinite(v).all()) for weights in members for v in weights.values()):
        raise UserError("the training diverged", job.name, "lower the rate of its recipe")
    line = figures_line(module, members, split)
    write_atomically(file, _pt(members, job))
    return f"{job.name}: {line}, {seconds:.0f} s"


def keep_rows(file: Path, split: Split) -> None:
    """Write the rows, or check that networks which are there already have the same.

    Raises InputError if they are not: networks of other folds must not be mixed with these.
    """
    if not file.exists():
        write_atomically(file, _npz(split))
        return
    for name, array in split.arrays.items():
        if not np.array_equal(read_array(f"{file}:{name}"), array):
            raise InputError(f"{name} differs from the data", file, "give an empty folder")


def trained(job: Job, split: Split, scale: float) -> tuple[nn.Module, list[Weights]]:
    """The module and its trained weights: one state_dict, or one for each member of a chain.

    The seed is the network's name: the networks trained before it do not matter.
    """
    torch.manual_seed(zlib.crc32(job.name.encode()))
    module = job.module(split.features)
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a third faster
    x, y = (tensor(split, part) for part in ("x_train", "y_train"))
    loss = cross_entropy if job.network == IMAGES else gaussian_nll
    recipe = recipes.scaled(job.recipe, scale)
    if isinstance(recipe, ChainRecipe):
        return module, sample(module, loss, x, y, recipe)
    return module, [fit(module, loss, x, y, recipe)]


def figures_line(module: nn.Module, members: Sequence[Weights], split: Split) -> str:
    """Float figures on the test rows; on the first ones for images."""
    x, y = tensor(split, "x_test"), tensor(split, "y_test")
    if "ood" not in split.arrays:
        return figures.regression_line(figures.samples(module, members, x), y)
    ood = tensor(split, "ood")[: figures.OOD]
    x, y = x[: figures.TEST], y[: figures.TEST]
    (logits,), (other,) = (figures.samples(module, members, part) for part in (x, ood))
    return figures.classification_line(logits, y, other)


def tensor(split: Split, name: str) -> Tensor:
    """An array of the split as a tensor."""
    return torch.from_numpy(split.arrays[name])


def _pt(members: list[Weights], job: Job) -> bytes:
    """A file for torch.load(..., weights_only=True): a state_dict, or a list for a chain."""
    plain = [{name: value.contiguous() for name, value in w.items()} for w in members]
    buffer = io.BytesIO()
    torch.save(plain if isinstance(job.recipe, ChainRecipe) else plain[0], buffer)
    return buffer.getvalue()


def _npz(split: Split) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **split.arrays)
    return buffer.getvalue()
