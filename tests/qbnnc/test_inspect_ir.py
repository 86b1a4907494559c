"""qbnnc inspect --ir and --passes: graphs as text, from any file, and after any passes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from qbnnc.ir import format
from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from qbnnc.ir.text import graph_text
from qbnnc.ir.text_parser import parse_graphs
from qbnnc.passes.pipeline import PASS_NAMES, Options, quantise_model
from qbnnc.passes.ranges.calibrate import Calibration
from tests.commands import Runner
from tests.graphs import inputs, mlp

NET = """\
float graph(%input: f32[2]{row})
  %w = constant f32[2,2] [[1, 2], [3, 4]]
  %b = constant f32[2] [0, 1]
  %one = constant f32[] 1
  %two = constant f32[] 2
  %fc = linear(%input, %w, %b)
  %twice = affine(%fc, %two, %one)  # net.scale (net.py:4)
  %once = clamp(%twice) low=-1.0 high=None
  %relu = clamp(%once) low=0.0 high=None
  return %relu
"""
AFTER = """\
float graph(%input: f32[2]{row})
  %w = constant f32[2,2] [[2, 4], [6, 8]]
  %b = constant f32[2] [1, 3]
  %fc: f32[2]{row} = linear(%input, %w, %b)
  %relu: f32[2]{row} = clamp(%fc) low=0.0 high=None
  return %relu
"""


@pytest.fixture
def net(qbnnc_command: Runner) -> Path:
    """net.qir in the folder that commands run in."""
    path = qbnnc_command.folder / "net.qir"
    path.write_text(NET)
    return path


def test_passes_run_on_a_text(qbnnc_command: Runner, net: Path) -> None:
    result = qbnnc_command("inspect", net, "--passes", "fold-affine,fuse-clamps")
    assert (result.code, result.out) == (0, AFTER)


def test_the_text_that_is_printed_is_read_again(qbnnc_command: Runner, net: Path) -> None:
    """Pass after pass, through files, gives what all of them give at once."""
    for name in ("fold-affine", "fuse-clamps"):
        net.write_text(qbnnc_command("inspect", net, "--passes", name).out)
    assert qbnnc_command("inspect", net, "--ir").out == AFTER


def test_a_text_is_inspected_like_any_model(qbnnc_command: Runner, net: Path) -> None:
    result = qbnnc_command("inspect", net)
    assert result.code == 0
    assert "FLOAT, pointwise, task raw" in result.words


def test_every_member_of_an_artefact_is_printed(qbnnc_command: Runner) -> None:
    source = Model((mlp(0), mlp(1)), Head(Task.RAW))
    model = quantise_model(source, inputs(mlp()), Options(calibration=Calibration(passes=1)))
    format.save(model, "net.qbnn")
    printed = qbnnc_command("inspect", "net.qbnn", "--ir").out
    texts = [graph_text(graph, whole=True) for graph in parse_graphs(printed)]
    assert texts == [graph_text(member, whole=True) for member in model.members]
    assert [line for line in printed.splitlines() if line.startswith("//")] == [
        "// member 0",
        "// member 1",
    ]


def test_rows_that_travel_with_a_model_calibrate_it(qbnnc_command: Runner) -> None:
    """All passes, one by one, as the pipeline runs them."""
    format.save(Model((mlp(),), Head(Task.RAW), calibration=inputs(mlp(), 20)), "net.qbnn")
    printed = qbnnc_command("inspect", "net.qbnn", "--passes", ",".join(PASS_NAMES)).out
    (graph,) = parse_graphs(printed)
    model = quantise_model(Model((mlp(),), Head(Task.RAW)), inputs(mlp(), 20), Options())
    assert graph_text(graph, whole=True) == graph_text(model.graph, whole=True)


def test_mistakes_are_one_sentence(qbnnc_command: Runner, net: Path) -> None:
    unknown = qbnnc_command.refused("inspect", "net.qir", "--passes", "fold-affine,fuse-clamp")
    assert unknown == f"there is no pass 'fuse-clamp'; the passes are {', '.join(PASS_NAMES)}"
    rows = qbnnc_command.refused("inspect", "net.qir", "--passes", "insert-fake-quantize")
    assert rows.startswith("insert-fake-quantize: observes ranges on calibration rows, and there")
    net.write_text(NET.replace("linear", "linar"))
    typo = qbnnc_command.refused("inspect", "net.qir", "--ir")
    assert typo == "net.qir:6:9: there is no op 'linar'; did you mean linear?"
    net.write_bytes(np.arange(200, 256, dtype=np.uint8).tobytes())
    assert qbnnc_command.refused("inspect", "net.qir") == "net.qir: no UTF-8 text (at byte 0)"


def test_text_is_neither_json_nor_a_plan(qbnnc_command: Runner, net: Path) -> None:
    for option in ("--json", "--plan"):
        result = qbnnc_command("inspect", net, "--ir", option)
        assert result.code == 2
        assert "--ir and --passes print text: leave --plan and --json out" in result.err
