"""The name of a Model's method."""

from __future__ import annotations

from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from tests.graphs import lenet, mlp


def test_its_text_is_one_short_line() -> None:
    ensemble = Model((mlp(0), mlp(1), mlp(2)), Head(Task.REGRESSION))
    assert repr(ensemble) == "Model(FLOAT, regression, 3 members, [10] -> [1], [1])"
    assert (
        str(Model((lenet(),), Head(Task.RAW))) == "Model(FLOAT, raw, 1 member, [1, 12, 12] -> [5])"
    )
    assert repr(Model((), Head(Task.RAW))) == "Model(no members)"
