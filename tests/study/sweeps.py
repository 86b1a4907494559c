"""Small studies for tests: networks, data, and ways to run them."""

from __future__ import annotations

import json
import multiprocessing
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qbnnc.evaluation.data import LabelledData
from qbnnc.ir import format
from qbnnc.ir.graph import Graph
from qbnnc.ir.head import Task
from qbnnc.ir.model import Model
from qbnnc.ir.types import Array
from qbnnc.loading.sources import float_model
from qbnnc.study.results import Result
from qbnnc.study.run import run_sweep
from qbnnc.study.settings import Settings, Study
from tests.net import Net

FEATURES, CLASSES = 6, 3


def classifier(*, dropout: bool = True, members: int = 1) -> Model:
    """A FLOAT Model of [6] to logits [3]."""
    return float_model(tuple(_graph(dropout, seed) for seed in range(members)), None)


def _graph(dropout: bool, seed: int) -> Graph:
    net = Net((FEATURES,), seed).linear(16, "a").relu("r")
    if dropout:
        net.dropout(0.25, "d")
    return net.linear(CLASSES, "b").graph()


def labelled(rows: int, seed: int = 0) -> tuple[Array, Array]:
    """x [rows, 6] float32 and labels [rows]."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, FEATURES)).astype(np.float32)
    return x, x[:, :CLASSES].argmax(axis=1)


def small_sweep(output: Path, **more: object) -> tuple[Result, ...]:
    """A classification study: float, w8a7 and w3a3 of a network with dropout.

    In this process, unless there is a scheduler.
    """
    given: dict[str, Any] = {
        "networks": {"net": classifier()},
        "train": labelled(120),
        "test": labelled(50, 1),
        "ood": 9 * labelled(30, 2)[0],
        "bits": "w8a7,w3a3",
        "seeds": 2,
        "samples": 5,
        "task": "classification",
    }
    with ThreadPoolExecutor(1) as own:
        given |= {} if "scheduler" in more else {"executor": own}
        return run_sweep(output=output, **(given | more))


def deadly_study() -> Deadly:
    """With the networks "good" and "deadly"."""
    x, y = labelled(40)
    data = LabelledData(x.astype(np.float32), y.astype(np.int64))
    models = dict.fromkeys(("good", "deadly"), format.to_bytes(classifier()))
    settings = Settings(Task.CLASSIFICATION, samples=2)
    return Deadly(models, data.x, None, None, data, None, settings)


def timeless(path: Path) -> list[dict[str, object]]:
    """The rows of a file, without what differs from run to run."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows:
        row.get("costs", {}).pop("milliseconds", None)
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


@dataclass
class Stop:
    """Progress that interrupts once `after` jobs have been done; `done` is what was there first."""

    after: int
    done: int | None = None
    jobs: int = 0

    def __call__(self, done: int, total: int, latest: tuple[Result, ...]) -> None:
        self.done = done if self.done is None else self.done
        self.jobs += bool(latest)
        if self.jobs == self.after:
            raise KeyboardInterrupt


class Deadly(Study):
    """A study whose network "deadly" ends the worker that reads it."""

    def model(self, network: str) -> Model:
        if network == "deadly" and multiprocessing.parent_process() is not None:
            os._exit(9)
        return super().model(network)
