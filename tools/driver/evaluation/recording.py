"""A predictor that keeps something of everything it predicts, for what scores do not say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qbnnc.artefacts import Predictor
from qbnnc.ir.model import Model

Floats = NDArray[np.float32]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Recording(Generic[T]):
    """What `keep` makes of each batch's prediction is in `sets`, a list for each set of rows."""

    inner: Predictor
    keep: Callable[[Mapping[str, Floats]], T]
    sets: list[list[T]] = field(default_factory=list)

    @property
    def model(self) -> Model:
        return self.inner.model

    @property
    def samples(self) -> int:
        return self.inner.samples

    def predict(
        self,
        x: ArrayLike,
        samples: int | None = None,
        seed: int = 0,
        first_row: int = 0,
        batch_size: int | None = None,
    ) -> Mapping[str, Floats]:
        """What the inner one predicts; row 0 begins another set."""
        made = self.inner.predict(x, samples, seed, first_row, batch_size)
        if first_row == 0:
            self.sets.append([])
        self.sets[-1].append(self.keep(made))
        return made
