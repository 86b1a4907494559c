"""A row's statistics do not depend on the rows beside it."""

from __future__ import annotations

import numpy as np
import pytest

from qbnnc.ir.head import Head, Task


@pytest.mark.parametrize("task", list(Task))
@pytest.mark.parametrize("shape", [(1,), (3,), (2, 2, 1)])
def test_one_row_alone_has_the_bits_it_has_among_others(task: Task, shape: tuple[int, ...]) -> None:
    """numpy adds a contiguous axis in pairs: the mean over 20 samples of one number is such one."""
    rng = np.random.default_rng(0)
    outputs = 1 if task is Task.CLASSIFICATION else 2
    samples = tuple(rng.normal(size=(20, 200, *shape)).astype(np.float32) for _ in range(outputs))
    many = Head(task).evaluate(samples)
    for row in range(200):
        one = Head(task).evaluate(tuple(output[:, row : row + 1] for output in samples))
        for name, array in many.items():
            assert np.array_equal(one[name][0], array[row]), (name, row)
