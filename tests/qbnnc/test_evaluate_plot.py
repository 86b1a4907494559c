"""qbnnc evaluate --plot: curves by hand, what a picture holds, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

import qbnnc.evaluation.plots.curves as curves
from qbnnc.evaluation.plots import MOST_MODELS
from tests.commands import Runner, npz
from tests.conftest import DATA

FASHION = ("--data", "fashion.npz", "--ood", "fashion.npz:ood")


@pytest.fixture
def diabetes_file(qbnnc_command: Runner) -> str:
    """diabetes.npz with x and y, in the folder that commands run in."""
    arrays = npz(DATA / "diabetes.npz")
    np.savez("diabetes.npz", x=arrays["x_test"][:40], y=arrays["y_test"][:40])
    return "diabetes.npz"


def texts(path: str) -> set[str]:
    """The texts of an SVG, which loads nothing and has no script."""
    document = Path(path).read_text(encoding="utf-8")
    elements = list(ElementTree.fromstring(document).iter())
    assert not any(e.tag.endswith("}script") for e in elements)
    links = [v for e in elements for name, v in e.attrib.items() if name.endswith("href")]
    assert all(link.startswith("#") for link in links)
    assert "nan" not in re.findall(r' d="([^"]*)"', document)
    return {e.text for e in elements if e.text and e.tag.endswith(("}text", "}title"))}


def test_curves_by_hand() -> None:
    """A target one standard deviation above the mean: Phi(1) = .8413447."""
    z = curves.standardised(np.array([0.0, 2.0, 5.0]), np.array([4.0, 1.0, 0.0]), [2.0, 2.0, 5.0])
    assert z.tolist() == [1.0, 0.0, 0.0]
    pit = curves.integral_transform(z)
    assert np.allclose(pit, [0.8413447, 0.5, 0.5], atol=1e-7)
    covered = curves.coverage(pit, np.array([0.0, 0.68, 0.69, 1.0]))
    assert np.allclose(covered, [2 / 3, 2 / 3, 1.0, 1.0])
    outside = curves.standardised(np.array([0.0]), np.array([0.0]), [-1.0])
    assert curves.integral_transform(outside).tolist() == [0.0]


def test_the_coverage_at_90_percent_is_that_of_the_table() -> None:
    random = np.random.default_rng(0)
    mean, variance, y = (
        random.normal(size=200),
        random.uniform(0.1, 3, 200),
        random.normal(size=200),
    )
    pit = curves.integral_transform(curves.standardised(mean, variance, y))
    inside = np.abs(y - mean) <= 1.6448536 * np.sqrt(variance)
    assert curves.coverage(pit, np.array([0.9]))[0] == inside.mean()


def test_accuracy_of_the_rows_that_are_kept() -> None:
    p = np.array([[0.9, 0.1], [0.2, 0.8], [0.2, 0.8], [0.6, 0.4]])
    share, accuracy = curves.kept_accuracy(p, np.array([0, 1, 0, 1]))
    assert share.tolist() == [0.25, 0.75, 1.0]
    assert np.allclose(accuracy, [1, 2 / 3, 1 / 2])


def test_rows_at_even_distances() -> None:
    assert curves.spread_rows(3, 60).tolist() == [0, 1, 2]
    assert curves.spread_rows(101, 3).tolist() == [0, 50, 100]


@pytest.mark.slow
def test_a_classification(qbnnc_command: Runner, artefacts: Path) -> None:
    lenet = artefacts / "lenet.qbnn"
    float_ = ("--compare", "lenet_mcd.pt", "--model", "tools.models:LeNet_MCD")
    made = qbnnc_command("evaluate", lenet, *FASHION, *float_, "--plot", "plot.svg")
    assert (made.code, made.err) == (0, "")
    found = texts("plot.svg")
    assert {"Accuracy, %", "Confidence, %", "Predictive entropy, nats"} <= found
    assert {"Entropies (filled: OOD)", "Classification of fashion.npz: 200 rows, seed 0"} <= found
    assert "lenet_mcd.pt: float32, L = 20" in found
    assert any(text.startswith("lenet.qbnn: w8a7") for text in found)
    first = Path("plot.svg").read_bytes()
    assert qbnnc_command("evaluate", lenet, *FASHION, *float_, "--plot", "plot.svg").code == 0
    assert Path("plot.svg").read_bytes() == first


def test_a_regression(qbnnc_command: Runner, artefacts: Path, diabetes_file: str) -> None:
    asked = ("evaluate", artefacts / "mlp.qbnn", "--data", diabetes_file)
    more = ("--ood", f"{diabetes_file}:x", "--seed", 3, "--json")
    assert qbnnc_command(*asked, *more, "--plot", "plot.svg").code == 0
    found = texts("plot.svg")
    assert {"Nominal coverage, %", "Targets inside, %", "Target, units of y", "targets"} <= found
    assert "Epistemic standard deviation, units of y" in found
    assert "Regression of diabetes.npz: 40 rows, seed 3" in found
    assert qbnnc_command(*asked, "--plot", "plot.svg").code == 0
    assert "Epistemic standard deviation, units of y" not in texts("plot.svg")


@pytest.mark.few(1)
@pytest.mark.parametrize(("suffix", "begins"), [("png", b"\x89PNG"), ("pdf", b"%PDF-")])
def test_other_formats(
    qbnnc_command: Runner, artefacts: Path, diabetes_file: str, suffix: str, begins: bytes
) -> None:
    """The same bytes again, without a time in them."""
    made = []
    for name in ("a", "b"):
        path = f"{name}.{suffix}"
        asked = ("--data", diabetes_file, "--plot", path)
        assert qbnnc_command("evaluate", artefacts / "mlp.qbnn", *asked).code == 0
        made.append(Path(path).read_bytes())
    assert made[0] == made[1]
    assert made[0].startswith(begins)
    assert b"CreationDate" not in made[0]


def test_any_spread_can_be_drawn(qbnnc_command: Runner, artefacts: Path) -> None:
    """Targets far off, and a float32 that is nearly too large."""
    arrays = npz(DATA / "diabetes.npz")
    y = arrays["y_test"][:5].copy()
    y[0], y[1] = 3e38, -3e38
    np.savez("far.npz", x=arrays["x_test"][:5], y=y)
    asked = ("evaluate", artefacts / "mlp.qbnn", "--data", "far.npz", "--plot", "plot.svg")
    assert qbnnc_command(*asked).code == 0
    assert "Target, units of y" in texts("plot.svg")


def test_what_is_refused(
    qbnnc_command: Runner, artefacts: Path, diabetes_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlp = artefacts / "mlp.qbnn"
    asked = ("evaluate", mlp, "--data", diabetes_file, "--plot")
    assert ".svg, .png, .pdf" in qbnnc_command.refused(*asked, "plot.gif")
    assert "there is no folder" in qbnnc_command.refused(*asked, "none/plot.svg")
    many = ("evaluate", *[mlp] * (MOST_MODELS + 1), "--data", diabetes_file, "--plot", "plot.svg")
    assert "cannot be told apart" in qbnnc_command.refused(*many)
    monkeypatch.setattr("qbnnc.support.extras.find_spec", lambda name: None)
    said = qbnnc_command.refused(*asked, "plot.svg")
    assert "needs matplotlib" in said
    assert "pip install 'qbnnc[plots]'" in said
