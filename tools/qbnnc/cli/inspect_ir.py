"""The graphs of `qbnnc inspect --ir` and `--passes`: read from text, rewritten, printed whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from qbnnc.ir.text import graph_text
from qbnnc.ir.text_parser import parse_graphs
from qbnnc.passes.pipeline import pipeline
from qbnnc.support.errors import FileError
from qbnnc.support.files import read_bytes


def is_graph_text(file: str) -> bool:
    """Whether the file's name says that it holds the text of graphs (docs/reference/ir.md)."""
    return Path(file).suffix == ".qir"


def read_graph_text(file: str) -> Model:
    """The graphs of a .qir file, as the members of a Model that is not checked.

    TextError, with line and column, for a text that is no graph.
    """
    try:
        text = read_bytes(file).decode()
    except UnicodeDecodeError as error:
        raise FileError(f"no UTF-8 text (at byte {error.start})", file) from None
    return Model(parse_graphs(text, file), Head(Task.RAW))


def graph_texts(model: Model, passes: Sequence[str]) -> Iterator[str]:
    """The text of each member after these passes, which run in the order given.

    Passes that calibrate take the rows that travel with the model. UserError for an unknown pass
    and where the graph does not fit.
    """
    steps = pipeline(rows=model.calibration).only(*passes)
    for number, member in enumerate(model.members):
        heading = f"// member {number}\n" if len(model.members) > 1 else ""
        yield heading + graph_text(steps(member), whole=True)
