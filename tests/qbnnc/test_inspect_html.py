"""qbnnc inspect --html: what the page holds, that it is safe, and that it fits its screen."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from qbnnc.inspection.page import page
from qbnnc.ir import format
from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from qbnnc.ir.ops import Linear
from qbnnc.ir.types import Array
from qbnnc.passes.pipeline import Options, quantise_model
from qbnnc.passes.ranges.calibrate import Calibration
from qbnnc.support.errors import Loc
from tests.commands import Runner
from tests.graphs import inputs, mlp, resnet
from tests.net import Net
from tests.page.browser import PROGRAM, opened
from tests.page.parsed import Parsed


def compiled(members: int = 1) -> Model:
    graphs = tuple(resnet(seed) for seed in range(members))
    model = Model(graphs, Head(Task.CLASSIFICATION), draws=3)
    return quantise_model(model, inputs(graphs[0]), Options(calibration=Calibration(passes=1)))


def rows() -> Array:
    return inputs(resnet())[:5]


def test_a_file_has_a_page(qbnnc_command: Runner, artefacts: Path) -> None:
    for suffix in ("qbnn", "onnx"):
        made = qbnnc_command("inspect", artefacts / f"lenet.{suffix}", "--html", "page.html")
        assert (made.code, made.err) == (0, "")
        assert "wrote page.html" in made.out
        shown = Parsed(Path("page.html").read_text(encoding="utf-8"))
        for text in ("MC dropout", "w8a7", "115,200", "conv2 (lenet.py:78)", "need data"):
            assert text in shown.text, text
        (digest,) = re.findall(r"\b[0-9a-f]{64}\b", shown.text)
        assert digest in qbnnc_command("inspect", artefacts / f"lenet.{suffix}").out
        assert Path("page.html").stat().st_size < 60_000


def test_activations_are_those_of_the_data(qbnnc_command: Runner, artefacts: Path) -> None:
    """Half of the pixels of the bundled images are 0; 32 rows of them are looked at."""
    asked = ("--html", "page.html", "--input", "fashion.npz:x")
    assert qbnnc_command("inspect", artefacts / "lenet.qbnn", *asked).code == 0
    shown = Parsed(Path("page.html").read_text(encoding="utf-8")).text
    pixels = np.load("fashion.npz")["x"][:32]
    assert "need data" not in shown
    assert f"{pixels.size} codes" in shown
    share = f"{100 * (pixels == 0).mean():.3g} % at 0"
    assert share in shown


def test_the_same_model_gives_the_same_bytes() -> None:
    model = compiled()
    assert page(model, 10, "net", rows()) == page(compiled(), 10, "net", rows())


def test_nothing_is_loaded_and_links_find_their_targets() -> None:
    document = page(compiled(), 10, "net", rows(), "x.npz")
    assert not re.search(r"https?:|//\w|@import|<script|<link|<iframe|<img|url\(", document)
    shown = Parsed(document)
    ids = Counter(shown.attributes("id"))
    assert max(ids.values()) == 1
    targets = {target.removeprefix("#") for target in shown.attributes("href")}
    assert targets <= ids.keys()
    assert {"graph", "layer0", "layer5"} <= targets
    labels = {id for text in shown.attributes("aria-labelledby") for id in text.split()}
    assert labels <= ids.keys()


def test_the_page_can_be_read_aloud() -> None:
    shown = Parsed(page(compiled(), 10, "net", rows()))
    tags = Counter(tag for tag, _ in shown.tags)
    assert tags["table"] == tags["caption"] > 5
    assert all(a.get("scope") in ("col", "row") for tag, a in shown.tags if tag == "th")
    assert tags["svg"] == tags["desc"] > 6
    assert tags["figure"] == tags["figcaption"]
    assert ("html", {"lang": "en"}) in shown.tags
    assert tags["h1"] == 1


@pytest.mark.parametrize("name", ["<script>x()</script>", "a\"b'&amp;", "\x1b[31m\ud800"])
def test_names_are_text(name: str) -> None:
    net = Net((4,), 0)
    graph = net.linear(3, "fc").graph()
    node = graph.nodes[0]
    object.__setattr__(node, "loc", Loc(name))
    object.__setattr__(node.output, "name", name)
    document = page(Model((graph,), Head(Task.RAW, outputs=())), 10, name)
    shown = Parsed(document)
    assert not any(tag == "script" for tag, _ in shown.tags)
    assert document.encode()
    if name.isprintable():
        assert shown.text.count(name) >= 4


def test_every_stage_and_every_posterior_has_a_page() -> None:
    gauss = Net((10,), 0).bayesian(3, "bayes", Linear()).relu("r").linear(2, "fc").graph()
    for graph in (mlp(), gauss):
        model = Model((graph,), Head(Task.RAW), draws=2)
        options = Options(calibration=Calibration(passes=1))
        for each in (model, quantise_model(model, inputs(graph), options)):
            shown = Parsed(page(each, 10, "net", inputs(graph)[:4]))
            assert "sampled weights" in shown.text or graph is not gauss
            for word in ("mu", "sigma") if graph is gauss else ():
                assert f" of {word} of bayes" in shown.text
    assert "float network" in Parsed(page(Model((mlp(),), Head(Task.RAW)), 10, "net")).text


def test_members_are_told_of() -> None:
    assert "The first member; all have this graph" in Parsed(page(compiled(2), 10, "net")).text


def test_what_is_refused(qbnnc_command: Runner, artefacts: Path) -> None:
    lenet = artefacts / "lenet.qbnn"
    said = qbnnc_command.refused("inspect", lenet, "--html", "page.pdf")
    assert "written as .html" in said
    said = qbnnc_command.refused("inspect", lenet, "--html", "none/page.html")
    assert "there is no folder" in said
    said = qbnnc_command.refused(
        "inspect", lenet, "--html", "page.html", "--input", "fashion.npz:y"
    )
    assert "the network takes" in said
    format.save(compiled(), "net.html")
    assert "is an input as well" in qbnnc_command.refused(
        "inspect", "net.html", "--html", "net.html"
    )
    for other in (["--plan"], ["--ir"], ["--json"], ["--options"]):
        result = qbnnc_command("inspect", lenet, "--html", "page.html", *other)
        assert (result.code, Path("page.html").exists()) == (2, False)
    assert qbnnc_command("inspect", lenet, "--input", "fashion.npz:x").code == 2


@pytest.mark.slow
@pytest.mark.skipif(PROGRAM is None, reason="needs chromium to lay the page out")
def test_nothing_is_wider_than_the_screen(tmp_path: Path) -> None:
    """At phone width, on a desk and on a wide screen, in either colour scheme."""
    file = tmp_path / "page.html"
    file.write_text(page(compiled(), 10, "a_name_that_is_long" * 8, rows()), encoding="utf-8")
    with opened(tmp_path / "profile") as tab:
        backgrounds = set()
        for width in (390, 1280, 1920):
            for dark in (False, True):
                tab.show(width, 900, dark=dark)
                tab.open(file)
                root = "document.documentElement"
                assert tab.evaluate(f"[{root}.scrollWidth, {root}.clientWidth]") == [width, width]
                backgrounds.add(tab.evaluate("getComputedStyle(document.body).backgroundColor"))
                assert tab.evaluate("document.querySelector('.graph').scrollWidth") > 300
        assert len(backgrounds) == 2
