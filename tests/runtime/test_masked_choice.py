"""The choice of a masked layer's form, its lists, its memory, and what a summary says."""

from __future__ import annotations

import numpy as np
import pytest

from qbnnc.ir.graph import Graph
from qbnnc.runtime.families.masked_layers import cost
from qbnnc.runtime.families.masked_layers.forms import MaskedForm
from qbnnc.runtime.families.masked_layers.units import MaskedLayer, find
from qbnnc.runtime.jobs import Size
from qbnnc.runtime.lowering import Lowering
from qbnnc.runtime.plan import plan
from qbnnc.runtime.session import Session
from tests.runtime.masked import PROBABILITIES, Mask, masked_conv, masked_linear
from tests.runtime.nets import images, lenet


def only_layer(graph: Graph) -> MaskedLayer:
    """Return the one layer of a graph that is behind a mask."""
    layers = (find(Lowering(graph), node) for node in graph.nodes)
    (layer,) = (layer for layer in layers if layer is not None)
    return layer


@pytest.mark.parametrize("p", PROBABILITIES)
@pytest.mark.parametrize("inverted", [False, True])
def test_listed_lanes(p: float, inverted: bool) -> None:
    """The list has the lanes that the mask drops, or those that it keeps: at most a half."""
    model = masked_linear(mask=Mask(p, inverted=inverted))
    layer = only_layer(model.graph)
    lanes, drawn = np.arange(1 << 16), cost.listing(layer)
    keeps = lanes < layer.mask.threshold if inverted else lanes >= layer.mask.threshold
    np.testing.assert_array_equal((lanes ^ drawn.flip) < drawn.limit, keeps == drawn.adds)
    assert 0 <= drawn.limit <= 1 << 15


def test_one_sample_is_computed_directly_and_many_are_not() -> None:
    def forms(draws: int) -> list[str]:
        names = (step.instruction.name() for step in plan(lenet().graph, draws=draws).steps)
        return [name for name in names if name.startswith("masked")]

    assert forms(1) == []
    assert forms(100) == ["masked_sums"]


def test_a_table_that_is_too_large_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = lenet().graph
    layer = only_layer(graph)
    needed = (layer.units + 1) * cost.row_bytes(layer)
    for size, there in ((needed, True), (needed - 1, False)):
        monkeypatch.setattr(cost, "table_bytes", lambda size=size: size)
        assert (MaskedForm.TABLE in cost.costs(Lowering(graph, 50), layer)) is there


def test_rows_of_tables_are_apart_in_a_cache() -> None:
    """Rows are an odd number of cache lines apart, and hold the last block of filters."""
    for filters in (1, 8, 16, 17, 64):
        model = masked_conv(filters=filters)
        layer = only_layer(model.graph)
        assert cost.row_bytes(layer) % 128 == 64
        assert cost.row_bytes(layer) >= 4 * (np.prod(layer.output_shape) + 15)


def test_tables_of_a_chunk_stay_in_the_cache() -> None:
    """The arena of a batch of 1024 is no larger than that of the rows whose tables fit."""
    session = Session(lenet(), threads=1, masked=MaskedForm.TABLE)
    arena = session._plans[0].arena
    (part,) = session._prepare(Size(1024, 20, None)).parts
    most = max(arena.record_bytes, cost.table_bytes())
    assert part.arena_bytes <= arena.scratch_bytes + most + 128


def test_the_trace_has_masks() -> None:
    model = lenet()
    session = Session(model, masked=MaskedForm.TABLE)
    values = session.trace(images(model, 2), 3)
    assert any("select" in name for name in values)


def test_the_summary_names_the_form() -> None:
    session = Session(lenet(), masked=MaskedForm.TABLE)
    forms = {op.kind: op.form for op in session.plan_summary().operations}
    assert forms["masked_sums"] == "table: dropped ones are subtracted, 20 % of 6"
    assert forms["unit_table"].startswith("6 units of 30 taps")
