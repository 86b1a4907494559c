"""The result of `predict`: arrays by name. The outputs of the ONNX file have the same names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.head import Head

if TYPE_CHECKING:
    import pandas

Float32 = NDArray[np.float32]

SMALL = 256  # elements of a sample of the batch, up to which a kernel computes the statistics
_PUBLISHING = Lock()  # threads may compute statistics at once; all of them see the first ones


class Prediction(Mapping[str, Float32]):
    """The samples [L, B, *shape] and their statistics [B, ...], float32.

    Read them as p["samples"] or p.samples. The task decides which statistics there are:

    - A classification has `probabilities`, `entropy` and `mutual_information`.
    - A regression has `mean`, `epistemic` and `variance`, and perhaps `aleatoric`.
    - Any other task has `mean` and `variance`.

    `qbnnc.ir.head` says how they are computed. They are computed when one of them is first read.
    Any number of threads may read a Prediction at once.
    """

    __slots__ = ("_arrays", "_head", "_index", "_moments", "_names", "_samples")

    def __init__(
        self,
        head: Head,
        names: tuple[str, ...],
        samples: tuple[Float32, ...],
        moments: Callable[[Float32, Float32], object] | None = None,
        index: object = None,
    ) -> None:
        """`samples` are [L, B, *shape] for each output; `names` are theirs, then of the statistics.

        `moments` is `kernels.moments.moments`, which is faster than numpy for few numbers. `index`
        is that of a data frame that was predicted.
        """
        self._index = index
        self._head, self._names, self._samples, self._moments = head, names, samples, moments
        self._arrays = dict(zip(names, samples, strict=False))

    def __reduce__(self) -> tuple[type[Prediction], tuple[object, ...]]:
        """Copy and pickle the samples: the statistics follow from them."""
        return type(self), (self._head, self._names, self._samples, None, self._index)

    def indexed(self, index: object) -> Prediction:
        """The same prediction, of rows that have these names in `to_frame`."""
        return Prediction(self._head, self._names, self._samples, self._moments, index)

    def to_frame(self) -> pandas.DataFrame:
        """The statistics as a pandas table (extra `tables`), one line a row, float32.

        Columns are `entropy` for a statistic [B], and `mean_0`, `mean_1`, ... for one of [B, K].
        A raw task has the names of its outputs in them. The index is that of the data frame that
        was predicted. Samples are left out. See `qbnnc.runtime.tables.to_frame`.
        """
        from qbnnc.runtime.tables import to_frame

        return to_frame(self, self._index)

    @property
    def outputs(self) -> dict[str, Float32]:
        """The samples [L, B, *shape] by the names that the network gives its outputs.

        Outputs without names are numbered: "0", "1", ...
        """
        count = len(self._samples)
        names = self._head.outputs or tuple(map(str, range(count)))
        return dict(zip(names, self._samples, strict=True))

    def __getitem__(self, name: str) -> Float32:
        if name not in self._arrays and name in self._names:
            made = self._statistics()
            with _PUBLISHING:
                self._arrays = made | self._arrays
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __getattr__(self, name: str) -> Float32:
        if name.startswith("_"):  # copying and pickling look for these before there are arrays
            raise AttributeError(name)
        if name not in self._arrays and name not in self._names:
            has = ", ".join(self._names)
            raise AttributeError(f"this prediction has no {name!r}; it has {has}")
        return self[name]

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._names]

    def __repr__(self) -> str:
        shapes = (f"{name}={list(array.shape)}" for name, array in self.items())
        return f"Prediction({', '.join(shapes)})"

    def _statistics(self) -> dict[str, Float32]:
        """Compute all statistics: with the kernel where numpy's calls would take most time."""
        first = self._samples[0]
        size = first[0].size
        one = len(self._samples) == 1 and self._head.moments_alone
        if self._moments is None or not one or size > SMALL:
            return self._head.evaluate(self._samples)
        names = self._names[1:]
        made = np.empty((len(names), size), np.float32)
        self._moments(first.reshape(len(first), size), made)
        return dict(zip(names, made.reshape(len(names), *first.shape[1:]), strict=True))
