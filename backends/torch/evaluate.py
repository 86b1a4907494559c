"""Samples of a FLOAT or SIMULATED Model in PyTorch, with the oracle's random numbers."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qbnnc.backends.torch.forward import Evaluation, StoredGrids
from qbnnc.backends.torch.noise import CountedNoise
from qbnnc.ir.graph import Graph, Value
from qbnnc.ir.model import Model
from qbnnc.ir.rng import Draw


def torch_samples(
    model: Model, x: NDArray[np.float32], *, samples: int, seed: int = 0, first_row: int = 0
) -> tuple[NDArray[np.float32], ...]:
    """The samples of each output, [L, B, *shape], for a batch x [B, *shape].

    They are those of `qbnnc.ir.oracle.oracle_samples` to float32 rounding, many times faster. Rows
    are numbered from `first_row` on.
    """
    rows, draws = range(first_row, first_row + len(x)), model.draws_for(samples)
    made = [np.empty((samples, len(x), *v.type.shape), np.float32) for v in model.graph.outputs]
    entry = torch.from_numpy(np.ascontiguousarray(x))
    with torch.inference_mode():
        for number, member in enumerate(model.members):
            evaluation = _evaluation(member)
            known: dict[Value, Tensor] | None = {} if len(draws) > 1 else None
            for sample in model.sample_numbers(number, draws):
                noise = CountedNoise(Draw.of(seed, [sample], rows))
                for whole, part in zip(made, evaluation.outputs(entry, noise, known), strict=True):
                    whole[sample] = part.numpy()
    return tuple(made)


def _evaluation(graph: Graph) -> Evaluation:
    tensors = {value: torch.from_numpy(array.copy()) for value, array in graph.constants.items()}
    return Evaluation(graph, tensors.__getitem__, StoredGrids())
