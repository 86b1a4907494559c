"""Write one HTML file in which a compiled network classifies drawings.

    python -m tools.page lenet.qbnn -o page.html --title "Garments" --classes T-shirt,Trouser,...
        --images "From the test set" fashion.npz:x 1=Trouser,2=Trouser

The network has classes and takes images [1, height, width].
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from qbnnc.loading.arrays import read_array
from qbnnc.loading.artefacts import read_integer_model
from qbnnc.support.errors import UserError
from qbnnc.support.files import write_atomically
from tools.page.contents import Group, contents, page, side_lengths
from tools.page.wasm import to_wasm


def write_page(
    model_file: str, output: Path, title: str, classes: Sequence[str], groups: Sequence[Group]
) -> int:
    """Write the page of a compiled .qbnn or .onnx; return its bytes. UserError, FileError."""
    model = read_integer_model(model_file)
    side_lengths(model)
    text = page(contents(model, to_wasm(model), title, classes, groups), title).encode()
    write_atomically(output, text)
    return len(text)


def group_of(title: str, array: str, rows: str) -> Group:
    """Images of FILE:KEY by `rows`, "ROW=NAME,..."; UserError for a row that is not there."""
    images, chosen, names = read_array(array), list[int](), list[str]()
    for item in rows.split(","):
        row, _, name = item.partition("=")
        if not row.strip().isdecimal() or int(row) >= len(images):
            raise UserError(f"{array} has rows 0 to {len(images) - 1}", place=f"row {row!r}")
        chosen.append(int(row))
        names.append(name or f"Image {row}")
    return Group(title, tuple(names), images[chosen])


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tools.page", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("model", help="a compiled .qbnn or .onnx")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE")
    parser.add_argument("--title", default="A Bayesian neural network")
    parser.add_argument("--classes", default="", metavar="NAME,NAME,...")
    parser.add_argument(
        "--images", nargs=3, action="append", default=[],
        metavar=("TITLE", "FILE:KEY", "ROW=NAME,..."),
        help="offer these images to choose from; repeat for another group",
    )  # fmt: skip
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    options = parsed(arguments)
    classes = [name for name in options.classes.split(",") if name]
    try:
        groups = [group_of(*given) for given in options.images]
        size = write_page(options.model, options.output, options.title, classes, groups)
    except UserError as error:
        sys.exit(f"error: {error}")
    print(f"{options.output}: {size:,} bytes")


if __name__ == "__main__":
    main()
