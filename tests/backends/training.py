"""Quick fine-tunings of small networks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qbnnc.backends.torch.training import (
    Progress,
    Training,
    finetune,
)
from qbnnc.ir.graph import Graph
from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from qbnnc.passes.options import Bits, Quantisation
from qbnnc.passes.pipeline import Options
from qbnnc.passes.ranges.calibrate import Calibration
from tests.graphs import inputs

QUICK = Training(epochs=6, lr=5e-3, batch_size=16)
LOW = Options(Quantisation(Bits(3, 3), outer_bits=3), calibration=Calibration(passes=2))


def model_of(*graphs: Graph, task: Task = Task.RAW) -> Model:
    return Model(graphs, Head(task), calibration=inputs(graphs[0], 64))


def rows(graph: Graph, count: int = 160) -> NDArray[np.float32]:
    return inputs(graph, count, seed=5)


def targets(graph: Graph, count: int = 160) -> NDArray[np.float32]:
    means: NDArray[np.float32] = rows(graph, count).mean(axis=1, keepdims=True)
    return 2 * means


def told(
    model: Model, y: NDArray[np.float32] | None, training: Training, options: Options = LOW
) -> tuple[Model, list[Progress]]:
    progress: list[Progress] = []
    x = rows(model.graph)
    tuned = finetune(model, x, y, options, training, tell=progress.append)
    return tuned, progress
