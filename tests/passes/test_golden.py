"""Passes on graphs written by hand: input and expected output stand in one file of golden/.

A file begins with comments that say what to run:

    // passes: fold-affine, fuse-clamps
    // options: {"bits": "w4a4"}    compile options, if not the defaults
    // rows: [[0, 1], [2, 3]]       calibration rows, for passes that ask for them
    // error: fc: ...               instead of an expected graph
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from qbnnc.ir.graph import Graph
from qbnnc.ir.text import graph_text
from qbnnc.ir.text_parser import parse_graphs
from qbnnc.options import options_from
from qbnnc.passes.base import Pipeline
from qbnnc.passes.pipeline import PASS_NAMES, pipeline
from qbnnc.support.errors import UserError
from tests.graphs import inputs, run

FILES = sorted((Path(__file__).parent / "golden").glob("*.qir"))
HEADER = re.compile(r"// (passes|options|rows|error): (.*)")
CHANGING = {"cut-softmax", "share-masks", "insert-fake-quantize", "fit-layers", "quantize"}
"""Passes that change values, by more than rounding."""


@dataclass(frozen=True)
class Golden:
    """One file: the passes to run, the graph before, and the graph after or the error."""

    steps: Pipeline
    graphs: tuple[Graph, ...]
    error: str | None

    @staticmethod
    def read(file: Path) -> Golden:
        text = file.read_text()
        headers = dict(HEADER.findall(text))
        options = options_from(json.loads(headers.get("options", "{}")))
        rows: NDArray[np.float32] | None = None
        if "rows" in headers:
            rows = np.array(json.loads(headers["rows"]), np.float32)
        whole = pipeline(options.quantisation, options.calibration, rows=rows)
        steps = whole.only(*re.split(r",\s*", headers["passes"]))
        return Golden(steps, parse_graphs(text, file.name), headers.get("error"))


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_passes_give_the_expected_graph(file: Path) -> None:
    golden = Golden.read(file)
    if golden.error is not None:
        (before,) = golden.graphs
        with pytest.raises(UserError) as raised:
            golden.steps(before)
        assert str(raised.value).startswith(golden.error)
        return
    before, expected = golden.graphs
    assert graph_text(golden.steps(before), whole=True) == graph_text(expected, whole=True)


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_expected_graphs_compute_what_their_inputs_compute(file: Path) -> None:
    """The oracle judges the files, not the passes: a slip of the hand shows."""
    golden = Golden.read(file)
    if golden.error is not None or CHANGING & {*golden.steps.names}:
        return
    before, after = golden.graphs
    x = inputs(before)
    for mine, theirs in zip(run(before, x), run(after, x), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-6, atol=1e-6)


def test_every_pass_has_a_golden_file() -> None:
    assert {name for file in FILES for name in Golden.read(file).steps.names} == {*PASS_NAMES}
