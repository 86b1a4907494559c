"""What `predict` returns: arrays by the names that the ONNX outputs have too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray


class Prediction(Mapping[str, NDArray[np.float32]]):
    """The samples [L, B, *shape] and their statistics [B, ...], float32.

    p["samples"], or p.samples. What else there is depends on the task: `mean` and `variance`;
    `probabilities`, `entropy` and `mutual_information` of a classification; `mean`, `epistemic`,
    `variance` and perhaps `aleatoric` of a regression (qbnnc.ir.head says how they are computed).
    """

    __slots__ = ("_arrays",)

    def __init__(self, arrays: Mapping[str, NDArray[np.float32]]) -> None:
        self._arrays = dict(arrays)

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __getattr__(self, name: str) -> NDArray[np.float32]:
        if name.startswith("_"):  # copying and pickling look for these before there are arrays
            raise AttributeError(name)
        if name not in self._arrays:
            has = ", ".join(self._arrays)
            raise AttributeError(f"this prediction has no {name!r}; it has {has}")
        return self._arrays[name]

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._arrays]

    def __repr__(self) -> str:
        shapes = (f"{name}={list(array.shape)}" for name, array in self._arrays.items())
        return f"Prediction({', '.join(shapes)})"
