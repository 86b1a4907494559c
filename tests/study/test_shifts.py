"""Shifted images against numpy's own moves, their range, and what is refused."""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbnnc.study.shifts import STANDARD_SHIFTS, Images, Shift, ShiftKind
from qbnnc.support.errors import InputError, UserError

ROTATION, BRIGHTNESS, SHIFT = ShiftKind


def some_images(seed: int = 0, height: int = 9, width: int = 9) -> Images:
    """[4, 2, H, W]: channels with different ranges, both with negative values."""
    rng = np.random.default_rng(seed)
    images = rng.normal(size=(4, 2, height, width)).astype(np.float32)
    images[:, 1] = 3 * images[:, 1] - 5
    return images


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_rotation_by_quarter_turns_is_exact(turns: int) -> None:
    images = some_images()
    rotated = Shift(ROTATION, 90.0 * turns).apply(images)
    np.testing.assert_allclose(rotated, np.rot90(images, turns, axes=(2, 3)), atol=1e-4)


def test_rotation_keeps_angles_in_images_that_are_not_square() -> None:
    images = np.zeros((1, 1, 5, 11), np.float32)
    images[0, 0, 2, 3:8] = 1.0  # a bar across the centre
    upright = np.zeros_like(images)
    upright[0, 0, :, 5] = 1.0
    np.testing.assert_allclose(Shift(ROTATION, 90.0).apply(images), upright, atol=1e-5)


def test_rotation_is_bilinear_between_neighbours() -> None:
    """A ramp along x, turned by 45 degrees, is a ramp along the diagonal."""
    ramp = np.broadcast_to(np.arange(21, dtype=np.float32), (1, 1, 21, 21)).copy()
    rotated = Shift(ROTATION, 45.0).apply(ramp)[0, 0]
    offsets = np.arange(-4, 5)
    expected = 10 + (offsets[None, :] - offsets[:, None]) * math.sqrt(0.5)
    np.testing.assert_allclose(rotated[6:15, 6:15], expected, atol=1e-4)


def test_corners_of_rotated_images_are_black() -> None:
    images = some_images()
    rotated = Shift(ROTATION, 45.0).apply(images)
    black = np.broadcast_to(images.min((0, 2, 3)), (4, 2))
    np.testing.assert_allclose(rotated[:, :, 0, 0], black, atol=1e-5)


def test_brightness_is_about_the_minimum_and_stays_in_the_range() -> None:
    images = np.array([[-1.0, 0.0, 1.0, 3.0], [-3.0, -2.0, -2.5, 1.0]], np.float32)
    images = images.reshape(1, 2, 1, 4)
    brighter = Shift(BRIGHTNESS, 2.0).apply(images)
    assert brighter.tolist() == [[[[-1.0, 1.0, 3.0, 3.0]], [[-3.0, -1.0, -2.0, 1.0]]]]


@pytest.mark.parametrize(("share", "pixels"), [(0.3, 3), (0.5, 5), (-0.2, -2), (1.0, 10)])
def test_shift_moves_whole_pixels(share: float, pixels: int) -> None:
    images = some_images(width=10)
    expected = np.roll(images, pixels, axis=3)
    black = images.min((0, 2, 3), keepdims=True)
    expected[..., :pixels] = black if pixels > 0 else expected[..., :pixels]
    expected[..., 10 + pixels :] = black if pixels < 0 else expected[..., 10 + pixels :]
    assert (Shift(SHIFT, share).apply(images) == expected).all()


@given(shift=st.sampled_from(STANDARD_SHIFTS), seed=st.integers(0, 50))
def test_shifted_images_stay_in_the_range_of_their_channel(shift: Shift, seed: int) -> None:
    images = some_images(seed, height=6, width=10)
    before = images.copy()
    shifted = shift.apply(images)
    assert shifted.dtype == np.float32
    assert shifted.shape == images.shape
    assert (shifted >= images.min((0, 2, 3), keepdims=True) - 1e-4).all()
    assert (shifted <= images.max((0, 2, 3), keepdims=True) + 1e-4).all()
    assert (shifted != images).any()
    assert (images == before).all()


@pytest.mark.parametrize("none", [Shift(ROTATION, 0), Shift(BRIGHTNESS, 1), Shift(SHIFT, 0)])
def test_amounts_that_change_nothing(none: Shift) -> None:
    np.testing.assert_allclose(none.apply(some_images()), some_images(), atol=1e-5)


def test_the_range_of_a_batch_with_one_value() -> None:
    flat = np.full((2, 1, 4, 4), 7.0, np.float32)
    for shift in STANDARD_SHIFTS:
        np.testing.assert_allclose(shift.apply(flat), flat)


def test_the_paper_s_shifts() -> None:
    assert [str(s) for s in STANDARD_SHIFTS[::5]] == ["rotation 15", "brightness 1.5", "shift 0.1"]
    assert len(set(STANDARD_SHIFTS)) == 15


@pytest.mark.parametrize(
    ("kind", "amount"),
    [(SHIFT, 1.5), (SHIFT, -2), (BRIGHTNESS, -1), (ROTATION, math.inf), (BRIGHTNESS, math.nan)],
)
def test_amounts_without_sense_are_refused(kind: ShiftKind, amount: float) -> None:
    with pytest.raises(UserError, match=f"^{kind.value} "):
        Shift(kind, amount)


def test_what_is_no_batch_of_images_is_refused() -> None:
    shift, doubles = Shift(BRIGHTNESS, 2.0), cast(Any, np.zeros((1, 1, 4, 4)))
    with pytest.raises(InputError, match=r"shape \[3, 4\]"):
        shift.apply(np.zeros((3, 4), np.float32))
    with pytest.raises(InputError, match=r"shape \[0, 1, 4, 4\]"):
        shift.apply(np.zeros((0, 1, 4, 4), np.float32))
    with pytest.raises(InputError, match="float64"):
        shift.apply(doubles)
    images = np.zeros((3, 1, 4, 4), np.float32)
    images[1, 0, 2, 3] = np.nan
    with pytest.raises(InputError, match="row 1"):
        shift.apply(images)


def test_rotation_needs_torch_and_the_others_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qbnnc.support.extras.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"rotating images needs torch.*qbnnc\[compile\]"):
        Shift(ROTATION, 15).apply(some_images())
    Shift(SHIFT, 0.5).apply(some_images())
