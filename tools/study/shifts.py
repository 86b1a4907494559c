"""Distribution shifts of images: rotation, brightness and horizontal shift, as in the paper.

Ferianc et al. (2021), section 4, evaluate networks on shifted test images. These are rotated by 15
to 75 degrees, made 1.5 to 3.5 times as bright, or moved sideways by 0.1 to 0.5 of their width.
Pixels that come into view have the least value of their channel in the data: black, normalised or
not.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from qbnnc.support.errors import InputError, UserError
from qbnnc.support.extras import require

Images = NDArray[np.float32]


class ShiftKind(Enum):
    """A kind of shift; its amount is in degrees, a factor, or a share of the width."""

    ROTATION = "rotation"
    BRIGHTNESS = "brightness"
    SHIFT = "shift"


@dataclass(frozen=True, slots=True)
class Shift:
    """One distribution shift; str() is "rotation 15". UserError if the amount makes no sense.

    Rotation is counter-clockwise by any finite number of degrees. A brightness factor is 0 or more,
    and 1 changes nothing. A horizontal shift is -1 to 1 of the width, to the right.
    """

    kind: ShiftKind
    amount: float

    def __post_init__(self) -> None:
        low, high = _RANGES[self.kind]
        if not (low <= self.amount <= high and math.isfinite(self.amount)):
            raise UserError(f"give a number in [{low}, {high}]", f"{self.kind.value} {self.amount}")

    def __str__(self) -> str:
        return f"{self.kind.value} {self.amount:g}"

    def apply(self, images: Images) -> Images:
        """Shift images [N, C, H, W] float32, and keep their range.

        The least and greatest values are those of `images`: give all the data at once, for parts
        would be shifted differently. InputError for other shapes, types and values.
        """
        _check(images)
        if self.kind is ShiftKind.ROTATION:
            require("torch", what="rotating images")
        return _APPLY[self.kind](images, self.amount)


def _rotate(images: Images, degrees: float) -> Images:
    """Rotate about the centre, bilinear; theta takes places in the result to places in the image.

    torch's coordinates go from -1 to 1 along either side, hence the ratio of the sides. Pixels that
    come into view are 0, so the least value is subtracted first.
    """
    import torch  # belongs to an extra
    from torch.nn.functional import affine_grid, grid_sample

    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    aspect = images.shape[2] / images.shape[3]
    theta = torch.tensor([[[cos, -sin * aspect, 0], [sin / aspect, cos, 0]]], dtype=torch.float32)
    black, _ = _range(images)
    raised = torch.from_numpy(images - black)
    grid = affine_grid(theta, [1, *images.shape[1:]], align_corners=False)
    grid = grid.expand(len(images), -1, -1, -1)
    turned = grid_sample(raised, grid, mode="bilinear", align_corners=False)
    return np.asarray(turned.numpy() + black, np.float32)


def _brighten(images: Images, factor: float) -> Images:
    """(x - min) * factor + min, at most max: min and max of the channel."""
    black, white = _range(images)
    with np.errstate(over="ignore"):  # infinity is more than the maximum too
        brighter: Images = np.minimum((images - black) * np.float32(factor) + black, white)
    return brighter


def _move(images: Images, share: float) -> Images:
    """Move to the right by `share` of the width, in whole pixels."""
    width = images.shape[3]
    pixels = round(share * width)
    black, _ = _range(images)
    moved = np.broadcast_to(black, images.shape).copy()
    target = slice(max(pixels, 0), width + min(pixels, 0))
    source = slice(max(-pixels, 0), width - max(pixels, 0))
    moved[..., target] = images[..., source]
    return moved


_Apply = Callable[[Images, float], Images]
_APPLY: Final[dict[ShiftKind, _Apply]] = {
    ShiftKind.ROTATION: _rotate,
    ShiftKind.BRIGHTNESS: _brighten,
    ShiftKind.SHIFT: _move,
}
_RANGES: Final = {
    ShiftKind.ROTATION: (-math.inf, math.inf),
    ShiftKind.BRIGHTNESS: (0.0, math.inf),
    ShiftKind.SHIFT: (-1.0, 1.0),
}
# The shifts of the paper, in the order of a report.
STANDARD_SHIFTS: Final = (
    *(Shift(ShiftKind.ROTATION, degrees) for degrees in (15.0, 30.0, 45.0, 60.0, 75.0)),
    *(Shift(ShiftKind.BRIGHTNESS, factor) for factor in (1.5, 2.0, 2.5, 3.0, 3.5)),
    *(Shift(ShiftKind.SHIFT, share) for share in (0.1, 0.2, 0.3, 0.4, 0.5)),
)


def _range(images: Images) -> tuple[Images, Images]:
    """The least and the greatest value of each channel: [1, C, 1, 1]."""
    axes = (0, 2, 3)
    return images.min(axes, keepdims=True), images.max(axes, keepdims=True)


def _check(images: Images) -> None:
    if images.ndim != 4 or not images.size:
        shape = list(images.shape)
        raise InputError(f"images of shape {shape}: shifts need [rows, channels, height, width]")
    if images.dtype != np.float32:
        raise InputError(f"images of type {images.dtype}: shifts need float32, cast them")
    if not np.isfinite(images).all():
        row = int(np.argwhere(~np.isfinite(images))[0][0])
        raise InputError(f"images: NaN or infinity in row {row}: leave such rows out")
