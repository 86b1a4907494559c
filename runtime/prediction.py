"""The result of `predict`: arrays by name. The outputs of the ONNX file have the same names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.head import Head


class Prediction(Mapping[str, NDArray[np.float32]]):
    """The samples [L, B, *shape] and their statistics [B, ...], float32.

    Read them as p["samples"] or p.samples. The task decides which statistics there are:

    - A classification has `probabilities`, `entropy` and `mutual_information`.
    - A regression has `mean`, `epistemic` and `variance`, and perhaps `aleatoric`.
    - Any other task has `mean` and `variance`.

    `qbnnc.ir.head` says how they are computed.
    """

    __slots__ = ("_arrays", "_head", "_names", "_samples")

    def __init__(
        self,
        head: Head,
        samples: tuple[NDArray[np.float32], ...],
        statistics: Mapping[str, NDArray[np.float32]] | None = None,
    ) -> None:
        """`samples` are [L, B, *shape] for each output.

        Statistics that are not given are computed when they are read.
        """
        names = head.sample_names(len(samples))
        self._head, self._samples = head, samples
        self._names = names + head.statistic_names(len(samples))
        self._arrays = dict(zip(names, samples, strict=True))
        if statistics is not None:
            self._arrays |= statistics

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        if name not in self._arrays and name in self._names:
            self._arrays |= self._head.evaluate(self._samples)
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __getattr__(self, name: str) -> NDArray[np.float32]:
        if name.startswith("_"):  # copying and pickling look for these before there are arrays
            raise AttributeError(name)
        if name not in self._names:
            has = ", ".join(self._names)
            raise AttributeError(f"this prediction has no {name!r}; it has {has}")
        return self[name]

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._names]

    def __repr__(self) -> str:
        shapes = (f"{name}={list(array.shape)}" for name, array in self.items())
        return f"Prediction({', '.join(shapes)})"
