"""Refusals of ops: the reason, and what compiles instead."""

from __future__ import annotations

import pytest

from qbnnc.frontend.convert.unsupported_ops import not_supported


@pytest.mark.parametrize("name", ["fill", "fill_", "fill_diagonal"])
def test_elements_set_in_place_are_told_what_to_write(name: str) -> None:
    refusal = not_supported(name, "fill")
    assert refusal.message == "fill: sets elements to a number in place, which is not supported"
    assert "constant mask" in refusal.remedy
    assert "torch.cat" in refusal.remedy


def test_filling_an_index_still_counts_as_writing_at_computed_places() -> None:
    assert "places that are computed" in not_supported("index_fill", "index_fill").message


@pytest.mark.parametrize("name", ["fractional_max_pool2d", "fractional_max_pool3d"])
def test_windows_at_random_are_told_what_to_write(name: str) -> None:
    refusal = not_supported(name, name)
    assert "drawn at random" in refusal.message
    assert "adaptive max pooling" in refusal.remedy


@pytest.mark.parametrize(
    ("name", "message", "remedy"),
    [
        ("grid_sampler", "at places that are computed", "F.interpolate"),
        ("grid_sampler_2d", "at places that are computed", "constant indices"),
        ("affine_grid_generator", "at places that are computed", "before the network"),
        ("torchvision::deform_conv2d", "at offsets that are computed", "dilation"),
        ("torchvision::roi_align", "cuts regions out", "the features"),
        ("torchvision::ps_roi_pool", "cuts regions out", "between the two predictions"),
        ("torchvision::nms", "chooses boxes", "the features"),
    ],
)
def test_computed_places_are_told_what_to_write(name: str, message: str, remedy: str) -> None:
    refusal = not_supported(name, name)
    assert message in refusal.message
    assert remedy in refusal.remedy
