"""What a page holds: the network as WebAssembly, its classes, and images to choose from."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.head import Task, class_shape
from qbnnc.ir.model import Model
from qbnnc.ir.types import Array
from qbnnc.support.errors import UserError
from qbnnc.support.text import spaced

HERE = Path(__file__).parent
WHITE = 255  # of the drawing; black is 0
MOST_SIDE = 256  # pixels


@dataclass(frozen=True, slots=True)
class Group:
    """Images under one title, each with the name of what it shows; `pixels` is [N, *shape]."""

    title: str
    names: tuple[str, ...]
    pixels: Array


@dataclass(frozen=True, slots=True)
class Shades:
    """The network's numbers for shades of grey: float32(shade * step + black), in float64."""

    black: float
    step: float

    @staticmethod
    def of(groups: Sequence[Group]) -> Shades:
        """Bytes are shades themselves. Else black and white are the ends of all images' range."""
        if all(group.pixels.dtype == np.uint8 for group in groups):
            return Shades(0.0, 1.0)
        low = min(float(group.pixels.min()) for group in groups)
        high = max(float(group.pixels.max()) for group in groups)
        return Shades(low, (high - low) / WHITE if high > low else 1.0)

    def of_pixels(self, pixels: Array) -> NDArray[np.uint8]:
        """The nearest shades."""
        shades = np.rint((pixels.astype(np.float64) - self.black) / self.step)
        return shades.clip(0, WHITE).astype(np.uint8)


def side_lengths(model: Model) -> tuple[int, int]:
    """Height and width of the images that a network classifies; UserError if it takes others."""
    shape = model.graph.input.type.shape
    outputs = [value.type.shape for value in model.graph.outputs]
    if model.head.task is not Task.CLASSIFICATION or prod(class_shape(outputs[0])[1:]) != 1:
        raise UserError(
            "a page shows the classes of an image, and this network has none",
            place=f"task='{model.head.task.value}'",
        )
    if len(shape) != 3 or shape[0] != 1 or max(shape) > MOST_SIDE:
        raise UserError(
            f"one drawing is [1, height, width] of up to {MOST_SIDE} pixels",
            place=f"the input {list(shape)}",
        )
    return shape[1], shape[2]


def contents(
    model: Model, wasm: bytes, title: str, classes: Sequence[str], groups: Sequence[Group]
) -> str:
    """The JSON that page.js reads.

    `classes` are the names of the outputs, or empty for their numbers. UserError for a network
    that classifies no drawings, and for names and images that are not its own.
    """
    height, width = side_lengths(model)
    count = class_shape(model.graph.outputs[0].type.shape)[0]
    names = list(classes) or [f"Class {number}" for number in range(count)]
    if len(names) != count:
        raise UserError(f"the network has {count}", place=f"{len(names)} names of classes")
    for group in groups:
        if group.pixels.shape[1:] != (1, height, width):
            raise UserError(
                f"the network takes {[1, height, width]}",
                place=f"images of {list(group.pixels.shape[1:])}",
            )
    shades = Shades.of(groups)
    fields = {
        "title": title,
        "about": f"{model.method}, {spaced(model.provenance.bits)}",
        "classes": names,
        "binary": prod(model.graph.outputs[0].type.shape) == 1,
        "height": height,
        "width": width,
        "black": shades.black,
        "step": shades.step,
        "members": len(model.members),
        "samples": model.samples,
        "groups": [
            {
                "title": group.title,
                "names": group.names,
                "shades": _packed(shades.of_pixels(group.pixels).tobytes()),
            }
            for group in groups
        ],
        "wasm": _packed(wasm),
    }
    return json.dumps(fields, ensure_ascii=True, separators=(",", ":"))


def page(fields: str, title: str) -> str:
    """The HTML, which asks the network for nothing."""
    text = (HERE / "page.html").read_text(encoding="utf-8")
    parts = {
        "TITLE": title.replace("&", "&amp;").replace("<", "&lt;"),
        "STYLE": (HERE / "page.css").read_text(encoding="utf-8"),
        "CONTENTS": fields.replace("<", "\\u003c"),
        "SCRIPT": (HERE / "page.js").read_text(encoding="utf-8"),
    }
    before, *pieces = text.split("{{")
    made = [before]
    for piece in pieces:
        name, after = piece.split("}}", 1)
        made += [parts[name], after]
    return "".join(made)


def _packed(data: bytes) -> str:
    """A zlib stream in base64, as `unpacked` of page.js reads it."""
    return base64.b64encode(zlib.compress(data, 9)).decode("ascii")
