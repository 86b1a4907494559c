"""Predictions as data frames of pandas, which is imported when one is made (extra `tables`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from qbnnc.support.errors import InputError
from qbnnc.support.extras import require

if TYPE_CHECKING:
    import pandas

_SAMPLES = "samples"


def to_frame(
    prediction: Mapping[str, NDArray[np.float32]], index: object = None
) -> pandas.DataFrame:
    """The statistics of a prediction as a table with one line a row, float32.

    A statistic [B] is one column of its name, such as `entropy`. Each element of a statistic
    [B, *shape] is a column: `mean_0`, `mean_1`, and `mean_0_2` of a map. A raw task has the names
    of its outputs in those of its statistics: `mean_price_0`. Samples are left out. `prediction` is
    what any session's `predict` returns. `index` names the rows; by default they are numbered
    from 0.

    Raises InputError if two columns would have one name, or `index` does not fit the rows.
    UserError without pandas.
    """
    require("pandas", what="a data frame")
    import pandas

    columns = list(_columns(prediction))
    names = [name for name, _ in columns]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(
            f"two columns would be called {twice[0]!r}",
            place="the prediction",
            remedy="compile with other `output_names`",
        )
    rows = len(columns[0][1])
    labels = pandas.RangeIndex(rows) if index is None else pandas.Index(index)
    if len(labels) != rows:
        raise InputError(f"it has {len(labels)} names, and there are {rows} rows", place="index")
    return pandas.DataFrame(dict(columns), index=labels)


def _columns(
    prediction: Mapping[str, NDArray[np.float32]],
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    for name, array in prediction.items():
        if name.startswith(_SAMPLES):
            continue
        for place in np.ndindex(array.shape[1:]):
            yield "_".join((name, *map(str, place))), array[(slice(None), *place)]
