"""Layouts: what is the batch-first form, and which layout a tensor's rows tell."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from qbnnc.frontend.convert.layouts.layout import Layout, found
from tests.examples import USUAL, examples


@given(
    axis=st.integers(0, 2),
    before=st.integers(1, 3),
    after=st.integers(1, 3),
    rows=st.integers(2, 4),
)
@examples(USUAL)
def test_in_front_is_the_opposite_of_laid_out(
    axis: int, before: int, after: int, rows: int
) -> None:
    layout = Layout(axis, before, after)
    row = (2, 3)[:axis] + layout.merged + (2, 3)[axis:]
    x = torch.arange(rows * torch.Size(row).numel()).reshape(rows, *row)
    assert torch.equal(layout.in_front(layout.laid_out(x)), x)


def test_a_merged_axis_by_hand() -> None:
    """[B, 3, 2] with 3 and 2 around the batch is [(3 B 2)]."""
    x = torch.arange(12).reshape(2, 3, 2)
    whole = Layout(0, 3, 2).laid_out(x)
    assert whole.tolist() == [0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11]


def test_shapes_and_places() -> None:
    layout = Layout(1, 1, 4)
    assert layout.batch_first((5, 12, 7), 3) == (3, 5, 4, 7)
    assert [layout.place(axis) for axis in (0, 2)] == [1, 3]
    assert [Layout(1).place(axis) for axis in (0, 2)] == [1, 2]
    assert [Layout(0, 2, 3).place(axis) for axis in (1, 2)] == [3, 4]


def rows_of(layout: Layout, row: tuple[int, ...], count: int) -> Tensor:
    rows = torch.arange(count).reshape(-1, *[1] * len(row)).expand(count, *row)
    return layout.laid_out(rows)


def test_the_rows_tell_the_layout() -> None:
    assert found(rows_of(Layout(), (4,), 3), 3) == Layout()
    assert found(rows_of(Layout(2), (4, 6, 2), 3), 3) == Layout(2)
    assert found(rows_of(Layout(0, 2, 5), (2, 5, 3), 3), 3) == Layout(0, 2, 5)


def test_mixed_rows_have_no_layout() -> None:
    assert found(torch.tensor([0, 1, 2, 2, 1, 0]), 3) is None


def test_zeros_fit_any_layout() -> None:
    assert found(torch.tensor([[-1, 0, 1], [-1, 0, 1]]).T, 3) is None
    assert found(torch.tensor([[0, -1], [1, -1]]), 2) == Layout()
